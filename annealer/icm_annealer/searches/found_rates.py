"""Label rates that nobody stated: answers at other rates, for U to compare with the answer as it is.

A pass is calibrated by its mean over the batch, as if all labels were equally frequent, so chains end at labels that
are about even whatever the data are. If one label is much commoner than the others, labels at its rate are far more
coherent: 150 text messages, 15 % of them spam, 0.55 nats against 0.34 for the same ranking cut in half.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import information, label_rates
from icm_annealer.scoring.passes import PassResult
from icm_annealer.search.base import (
    LABEL_RATES,
    AtRates,
    Problem,
    Round,
    StopSearch,
)
from icm_annealer.searches.chain import ChainSettings, chain, lockstep

MIN_DIFFERENCE = 0.05
"""Share of labels by which an answer at other rates must differ to be an answer of its own."""
STEP = 3.0
"""Factor by which the odds of the commonest label grow with each step: 50, 75, 90, 96 % of two labels."""
NEAR = np.linspace(-0.5, 1, 25)
"""Powers of `STEP` by which the odds of the commonest label are changed to find the clearest cut."""
NUM_STEPS = 3
NUM_TRIED = 2
"""Number of labels, the most frequent ones of the answer, that are tried as the commonest with the first step."""
MOST_EVEN = 0.6
"""Most that the rarest of the growing self-labels may have of its even share for their rates to be tried."""
LEAST_COUNT = 8
"""Number of examples that each label must have, so that either half has shots of it."""
CHAIN = "chain at uneven rates"
"""The purpose of the requests of its chains, which are numbered by step."""
FROM_GROWN = "chain from uneven growing labels"

Combined = Callable[[Array], Array]
Answers = Generator[Round, list[PassResult], list[AtRates]]


class _Cut(NamedTuple):
    """Labels at given label rates, to be evaluated."""

    rates: Array
    labels: Ints
    scores: Array
    """[example, label], in nats, shifted to the rates."""


def answers_at_rates(
    problem: Problem,
    settings: ChainSettings,
    start: Array,
    grown: Array | None,
    combined: Combined,
    rng: np.random.Generator,
) -> Answers:
    """Answers at other label rates than those of the best labels by `start` [example, label], compared with these on
    one order; the first is these labels themselves.

    The next one is at even rates. Then one of the labels that are most frequent becomes commoner step by step, by a
    cold chain at the rates of each step, until that is clearly less coherent; `combined` makes scores of the evidence
    of a chain. Further chains begin at the labels by `grown` [example, label], if these are uneven: they come from few
    shots, as many of each label, so they can be nearer to the rates of the data than chains are, which even them out.
    At the end, the rates beside the best ones are tried without a chain. Rates that the scores
    themselves speak against are not tried, so there may be no pass, and no answer. A search that is stopped keeps the
    answers it has.
    """
    order = rng.permutation(len(problem.units))
    labels = problem.best(start)
    free = _Cut(label_rates(labels, problem.num_labels), labels, start)
    commonest = [int(label) for label in np.argsort(-free.rates, kind="stable")[:NUM_TRIED]]
    even = _promising(problem, free, [np.full(problem.num_labels, 1 / problem.num_labels)])
    even = [cut for cut in even if _differ(cut, free)]
    found: list[AtRates] = []
    commoner = _commoner_cuts(problem, free, commonest)
    uneven = None if grown is None else _uneven_cut(problem, grown, free)
    if not even and not commoner and uneven is None:
        return found
    try:
        found += yield from _evaluated(problem, order, [free, *even])
        yield from _steps(problem, settings, combined, order, commoner, found, rng)
        if uneven is not None:
            yield from _from_grown(problem, settings, combined, order, uneven, found, rng)
        best = max(found, key=lambda answer: answer.u)
        if best.u > max(answer.u for answer in found[: 1 + len(even)]):
            beside = [_commoner(best.rates, int(best.rates.argmax()), factor) for factor in (STEP**0.5, STEP**-0.5)]
            others = [cut for cut in _promising(problem, best, beside) if (cut.labels != best.labels).any()]
            found += yield from _evaluated(problem, order, others)
    except StopSearch:
        pass
    return found


def _steps(
    problem: Problem,
    settings: ChainSettings,
    combined: Combined,
    order: Ints,
    cuts: Sequence[_Cut],
    found: list[AtRates],
    rng: np.random.Generator,
) -> Generator[Round, list[PassResult], None]:
    """Makes one label commoner step by step, starting from `cuts` of the first answer of `found`, and adds the answers
    at each step's rates, until the best of them is clearly less coherent than the best so far."""
    last, num_chains = found[0], 0
    for own in rng.spawn(NUM_STEPS):
        chains = [
            chain(_at(problem, cut.rates), settings, cut.labels, 0.0, of_one)
            for cut, of_one in zip(cuts, own.spawn(len(cuts)), strict=True)
        ]
        ends = yield from lockstep(chains, 1 + num_chains, CHAIN)
        if not ends:  # no rates to try, or the search is stopped
            return
        num_chains += len(ends)
        least = max(answer.u for answer in found) - problem.slack
        ended = [_cut(problem, cut.rates, combined(end.evidence)) for cut, end in zip(cuts, ends, strict=True)]
        answers = yield from _evaluated(problem, order, ended)
        found += answers
        answer = max(answers, key=lambda one: one.u)
        if answer.u < least:
            return
        cuts, last = _commoner_cuts(problem, answer, [int((answer.rates - last.rates).argmax())]), answer


def _from_grown(
    problem: Problem,
    settings: ChainSettings,
    combined: Combined,
    order: Ints,
    cut: _Cut,
    found: list[AtRates],
    rng: np.random.Generator,
) -> Generator[Round, list[PassResult], None]:
    """Cold chains that begin at `cut` and are held at its rates, then at those that the scores of the chain before say
    most of, until these are the same; adds the answers of each to `found`."""
    for number, own in enumerate(rng.spawn(NUM_STEPS), 1):
        cold = chain(_at(problem, cut.rates), settings, cut.labels, 0.0, own)
        ends = yield from lockstep([cold], number, FROM_GROWN)
        if not ends:
            return
        held = _cut(problem, cut.rates, combined(ends[0].evidence))
        clearest = _clearest(problem, held)
        is_settled = bool((clearest.labels == held.labels).all())
        found += yield from _evaluated(problem, order, [held] if is_settled else [held, clearest])
        if is_settled:
            return
        cut = clearest


def _clearest(problem: Problem, cut: _Cut) -> _Cut:
    """The cut near the rates of this one of which its scores say most: a gap in the scores shows where one label ends,
    though the chain was held at other rates."""
    near = [_commoner(cut.rates, int(cut.rates.argmax()), STEP**power) for power in NEAR]
    others = [_cut(problem, rates, cut.scores) for rates in near if _is_possible(problem, rates)]
    return max([cut, *others], key=lambda one: information(one.scores, one.labels))


def _commoner_cuts(problem: Problem, last: _Cut | AtRates, labels: Sequence[int]) -> list[_Cut]:
    """The promising cuts that make one of these labels commoner by a step. Rules may leave the labels as they are."""
    cuts = _promising(problem, last, [_commoner(last.rates, label, STEP) for label in labels])
    return [cut for cut in cuts if _differ(cut, last)]


def _uneven_cut(problem: Problem, grown: Array, free: _Cut) -> _Cut | None:
    """The labels by `grown` at their own rates, if these are uneven and the labels differ from those of `free`."""
    labels = problem.best(grown)
    rates = label_rates(labels, problem.num_labels)
    is_uneven = rates.min() < MOST_EVEN / problem.num_labels and _is_possible(problem, rates)
    cut = _Cut(rates, labels, grown)
    return cut if is_uneven and _differ(cut, free) else None


def _promising(problem: Problem, last: _Cut | AtRates, many: Sequence[Array]) -> list[_Cut]:
    """The best labels by the scores of `last` at each of these rates [label], without those that are clearly less
    coherent than its own labels by the scores themselves. These come from contexts with other labels, but U behind
    contexts with the new ones is lower still where they are wrong (docs/design/search.md)."""
    least = information(last.scores, last.labels) - problem.slack
    cuts = [_cut(problem, rates, last.scores) for rates in many if _is_possible(problem, rates)]
    return [cut for cut in cuts if information(cut.scores, cut.labels) >= least]


def _evaluated(problem: Problem, order: Ints, cuts: Sequence[_Cut]) -> Answers:
    if not cuts:
        return []
    answered = yield [problem.request(cut.labels, order, LABEL_RATES) for cut in cuts]
    gains = [problem.contributions(answer, cut.labels, order) for answer, cut in zip(answered, cuts, strict=True)]
    return [
        AtRates(*cut, problem.u(answer, cut.labels, order), gain)
        for cut, answer, gain in zip(cuts, answered, gains, strict=True)
    ]


def _cut(problem: Problem, rates: Array, scores: Array) -> _Cut:
    """`problem` has no rates of its own. Where its rules do not allow these rates, those of the labels are noted."""
    shifted = _at(problem, rates).with_rates(scores)
    labels = problem.best(shifted)
    possible = label_rates(labels, problem.num_labels)
    is_met = np.abs(possible - rates).max() <= 1 / problem.num_examples
    return _Cut(rates if is_met else possible, labels, shifted)


def _differ(cut: _Cut, other: _Cut | AtRates) -> bool:
    """Whether the labels differ enough to be an answer of their own."""
    return bool((cut.labels != other.labels).mean() > MIN_DIFFERENCE)


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
    raised = rates.copy()
    raised[label] *= factor
    normalized: Array = raised / raised.sum()
    return normalized
