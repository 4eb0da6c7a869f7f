"""Label rates that nobody stated: answers at uneven rates, for U to compare with the answer at free ones.

A pass is calibrated by its mean over the batch, as if all labels were equally frequent, so chains end at labels that
are about even whatever the data are. If one label is much commoner than the others, labels at its rate are far more
coherent: 150 text messages, 15 % of them spam, 0.55 nats against 0.34 for the same ranking cut in half.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import label_rates
from icm_annealer.scoring.passes import PassResult
from icm_annealer.search.base import (
    LABEL_RATES,
    AtRates,
    Problem,
    Round,
    StopSearch,
    error_over_examples,
)
from icm_annealer.searches.chain import ChainSettings, chain, lockstep

STEP = 3.0
"""Factor by which the odds of the commonest label grow with each step: 50, 75, 90, 96 % of two labels."""
NUM_STEPS = 3
NUM_TRIED = 2
"""Number of labels, the most frequent ones of the answer, that are tried as the commonest with the first step."""
LEAST_COUNT = 8
"""Number of examples that each label must have, so that either half has shots of it."""
SLACK = 0.075
"""Share of the most information by which U may be below the highest so far for another step to follow: U can fall with
the first step and rise with the second, and labels that are only cut at other rates were not chosen at these."""
CHAIN = "chain at uneven rates"
"""The purpose of the requests of its chains, which are numbered by step."""

Combined = Callable[[Array], Array]
Answers = Generator[Round, list[PassResult], list[AtRates]]


def answers_at_rates(
    problem: Problem, settings: ChainSettings, start: Array, combined: Combined, rng: np.random.Generator
) -> Answers:
    """Answers at ever more uneven rates, compared on one order, until that makes them clearly less coherent.

    The first is the best labels at even rates by `start` [example, label], the scores of an answer. One of the labels
    that are most frequent in that answer becomes commoner step by step, by a cold chain at the rates of each step;
    `combined` makes scores of the evidence of a chain. At the end, the rates beside the best ones are tried without a
    chain. A search that is stopped keeps the answers it has.
    """
    order = rng.permutation(len(problem.units))
    even = np.full(problem.num_labels, 1 / problem.num_labels)
    found: list[AtRates] = []
    if not _is_possible(problem, even):
        return found
    try:
        found += yield from _evaluated(problem, order, [(even, start)])
        yield from _steps(problem, settings, start, combined, order, found, rng)
        best = max(found, key=lambda answer: answer.u)
        if best is not found[0]:
            factors = (STEP**0.5, STEP**-0.5)
            beside = [_commoner(best.rates, int(best.rates.argmax()), factor) for factor in factors]
            possible = [(rates, best.scores) for rates in beside if _is_possible(problem, rates)]
            found += yield from _evaluated(problem, order, possible)
    except StopSearch:
        pass
    return found


def _steps(
    problem: Problem,
    settings: ChainSettings,
    start: Array,
    combined: Combined,
    order: Ints,
    found: list[AtRates],
    rng: np.random.Generator,
) -> Generator[Round, list[PassResult], None]:
    """Adds an answer to `found` with each step, until one is clearly less coherent than the best so far."""
    commonest = [int(k) for k in np.argsort(-label_rates(problem.best(start), problem.num_labels), kind="stable")]
    tried, last = commonest[:NUM_TRIED], found[0]
    for number, own in enumerate(rng.spawn(NUM_STEPS), 1):
        rates = {label: _commoner(last.rates, label, STEP) for label in tried}
        rates = {label: of_one for label, of_one in rates.items() if _is_possible(problem, of_one)}
        if not rates:
            return
        cuts = yield from _evaluated(problem, order, [(of_one, last.scores) for of_one in rates.values()])
        label, cut = max(zip(rates, cuts, strict=True), key=lambda one: one[1].u)
        least = max(answer.u for answer in found) - SLACK * np.log(problem.num_labels)
        if cut.u < least:
            return
        at_rates = chain(_at(problem, cut.rates), settings, cut.labels, 0.0, own)
        ends = yield from lockstep([at_rates], number, CHAIN)
        if not ends:  # the search is stopped
            return
        (answer,) = yield from _evaluated(problem, order, [(cut.rates, combined(ends[0].evidence))])
        found.append(answer)
        if answer.u < least:
            return
        tried, last = [label], answer


def _evaluated(problem: Problem, order: Ints, many: Sequence[tuple[Array, Array]]) -> Answers:
    """The best labels at some rates [label] by some scores [example, label], for each pair of these."""
    if not many:
        return []
    answers = [(_at(problem, rates), scores) for rates, scores in many]
    labels = [at.best(scores) for at, scores in answers]
    answered = yield [problem.request(one, order, LABEL_RATES) for one in labels]
    gains = [problem.contributions(answer, one, order) for answer, one in zip(answered, labels, strict=True)]
    return [
        AtRates(rates, one, at.with_rates(scores), problem.u(answer, one, order), error_over_examples(gain))
        for (rates, _), (at, scores), one, answer, gain in zip(many, answers, labels, answered, gains, strict=True)
    ]


def _is_possible(problem: Problem, rates: Array) -> bool:
    """Whether labels can have these rates, with enough of each label and beside the known ones."""
    least = np.full(problem.num_labels, LEAST_COUNT)
    if problem.known is not None:
        least = np.maximum(least, np.bincount(problem.known[problem.is_known], minlength=problem.num_labels))
    return bool((rates * problem.num_examples >= least).all())


def _at(problem: Problem, rates: Array) -> Problem:
    return replace(problem, rates=LabelRates(rates, rates))


def _commoner(rates: Array, label: int, factor: float) -> Array:
    """`rates` with `factor` times the odds of this label; the others keep their proportions."""
    odds = factor * rates[label] / (1 - rates[label])
    share = odds / (1 + odds)
    raised: Array = rates * (1 - share) / (1 - rates[label])
    raised[label] = share
    return raised
