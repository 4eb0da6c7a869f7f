"""Block search, this project's default. One pass proposes labels for half of the examples, which change at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import calibrated, information, label_rates, normalized
from icm_annealer.scoring.passes import PassResult
from icm_annealer.search.base import (
    AtRates,
    Candidate,
    Finalist,
    Problem,
    Result,
    Round,
    Search,
    weigh,
    zero_shot_candidate,
    zero_shot_request,
)
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind
from icm_annealer.searches.chain import NEXT_TO_NOTHING, ChainEnd, ChainSettings, chain, lockstep
from icm_annealer.searches.found_rates import Answers, answers_at_rates
from icm_annealer.searches.growing import grow

GIVEN, GROWING, ZERO_SHOT, RANDOM = "given", "growing", "zero-shot", "random"
EVEN, RENAMED, UNEVEN, ZERO_SHOT_ALONE = "even rates", "renamed", "uneven rates", "zero-shot alone"

CLEAR = 2.0
"""Standard errors of a clear lead in U."""
UNRELATED = 0.25
"""Agreement beyond chance below which two labellings are taken to be of different concepts."""


@dataclass(frozen=True)
class BlockSettings(ChainSettings):
    """Options of block search."""

    num_chains: int = 2
    """Number of chains that run first: from growing self-labels, from random labels, from calibrated zero-shot labels,
    and from random labels again."""
    max_chains: int = 3
    """The most chains; those beyond `num_chains` run only if the first ones end at different labels."""
    growing_sizes: tuple[int, ...] = (4, 16)
    """Shots of each round of the growing self-labels."""
    min_agreement: float = 0.8
    """Chains whose labels agree on at least this share count as one answer and are averaged."""
    zero_shot_weight: float = 0.5
    """Greatest weight of the zero-shot pass in an answer, relative to a weight of 1 for the chains' passes."""
    num_final_orders: int = 3
    """Number of common fresh orders on which the best answers are evaluated."""


def blocks(problem: Problem, settings: BlockSettings, seed: int) -> Search:
    """Runs several chains of block moves, averages chains with similar ends, and evaluates the answers on common fresh
    orders.

    Calibrated zero-shot labels are one of the answers, so no answer is chosen that is less coherent than they are.
    """
    start_rng, chain_rng, order_rng, rate_rng = np.random.default_rng(seed).spawn(4)
    (zero_shot,) = yield [zero_shot_request(problem)]
    alone = calibrated(zero_shot.logprobs)
    starts = yield from _starts(problem, settings, alone, start_rng)
    chains = [
        chain(problem, settings, start.labels, settings.heat if start.is_hot else 0.0, rng)
        for start, rng in zip(starts, chain_rng.spawn(len(starts)), strict=True)
    ]
    num_first = min(settings.num_chains, len(chains))
    ends = yield from lockstep(chains[:num_first])
    if not all(_are_alike(settings, ends[0].labels, end.labels, problem.num_labels) for end in ends):
        ends += yield from lockstep(chains[num_first:], 1 + num_first)
    found = _answers(problem, settings, alone, [start.name for start in starts], ends)
    found += yield from _renamed(problem, settings, alone, found, chain_rng)
    at_rates: list[AtRates] = []
    if problem.rates is None and problem.objective.measure == "information":
        began = _likelier_named(problem, found)
        at_rates = yield from _at_rates(problem, settings, alone, began, starts[0].scores, rate_rng)
        found += _at_best_rates(problem, began, at_rates)
    found.append(Finalist((ZERO_SHOT_ALONE,), problem.best(alone), None, alone))
    candidates = yield from weigh(problem, found, settings.num_final_orders, order_rng)
    candidates = _likelier_of_equals(problem, candidates, alone)
    num_oscillating = sum(end.oscillates for end in ends)
    result = Result(candidates, zero_shot, None, [end.labels for end in ends], num_oscillating, at_rates)
    rival = zero_shot_candidate(problem, result)
    return result if rival is None else replace(result, u_start=rival.us[0])


class _Start(NamedTuple):
    name: str
    labels: Ints
    is_hot: bool
    scores: Array | None = None
    """Those that the labels come from, if a pass made them behind shots."""


def _starts(
    problem: Problem, settings: BlockSettings, alone: Array, rng: np.random.Generator
) -> Generator[Round, list[PassResult], list[_Start]]:
    """The starts of all chains. Heat would destroy the information in a start, so those that have some are cold. If the
    problem has start labels, all chains start from them: the first cold, the others hot, to see whether they come back.
    Examples without a start label take their zero-shot label.
    """
    zero_shot, num = problem.best(alone), max(settings.num_chains, settings.max_chains)
    if problem.start is not None:
        given = problem.held(np.where(problem.start >= 0, problem.start, zero_shot))
        return [_Start(GIVEN, given, is_hot=number > 0) for number in range(num)]
    grown = yield from grow(problem, alone, settings.growing_sizes, rng)
    informed = {
        0: _Start(GROWING, problem.best(grown), is_hot=False, scores=grown),
        2: _Start(ZERO_SHOT, zero_shot, is_hot=False),
    }
    draws = [rng.random((problem.num_examples, problem.num_labels)) for _ in range(num)]
    return [informed.get(k, _Start(RANDOM, problem.best(draw), is_hot=True)) for k, draw in enumerate(draws)]


def _answers(
    problem: Problem, settings: BlockSettings, alone: Array, starts: Sequence[str], ends: Sequence[ChainEnd]
) -> list[Finalist]:
    """The answers of each set of chains with similar ends: the best labels by the mean scores of their last passes and
    the zero-shot scores (`alone`), whose errors are independent of the contexts."""
    clusters: list[list[int]] = []
    for number in sorted(range(len(ends)), key=lambda number: -ends[number].u):
        labels = ends[number].labels
        for cluster in clusters:
            if _are_alike(settings, ends[cluster[0]].labels, labels, problem.num_labels):
                cluster.append(number)
                break
        else:
            clusters.append([number])

    found = []
    for cluster in clusters:
        scores = _combined(settings, np.mean([ends[number].evidence for number in cluster], axis=0), alone)
        began = tuple(starts[number] for number in cluster)
        found.append(Finalist(began, problem.best(scores), ends[cluster[0]].u, scores))
    return found


def _renamed(
    problem: Problem, settings: BlockSettings, alone: Array, found: Sequence[Finalist], rng: np.random.Generator
) -> Generator[Round, list[PassResult], list[Finalist]]:
    """Answers with their labels' names exchanged where that makes them likelier without context, unless a chain has
    found them: all chains may have ended at the opposite of what the label words mean. Each is the end of a cold chain
    from the exchanged names, so its labels come from contexts of their own."""
    starts: list[tuple[tuple[str, ...], Ints]] = []
    for finalist in found:
        assert finalist.scores is not None
        names = likelier_names(finalist.labels, alone)
        if problem.rates is not None and problem.num_labels == 2:
            names = np.array([1, 0])  # a concept and its opposite have other rates, so U tells them apart
        labels = problem.best(finalist.scores[:, names])
        known = [*(other.labels for other in found), *(other for _, other in starts)]
        if not any(_are_alike(settings, labels, other, problem.num_labels) for other in known):
            starts.append(((*finalist.starts, RENAMED), labels))
    cold = [
        chain(problem, settings, labels, 0.0, own)
        for (_, labels), own in zip(starts, rng.spawn(len(starts)), strict=True)
    ]
    ends = yield from lockstep(cold, 1 + max(settings.num_chains, settings.max_chains))
    if not ends:  # the search was stopped before their first pass
        return []
    scores = [_combined(settings, end.evidence, alone) for end in ends]
    return [
        Finalist(began, problem.best(said), end.u, said)
        for (began, _), end, said in zip(starts, ends, scores, strict=True)
    ]


def _likelier_named(problem: Problem, found: Sequence[Finalist]) -> Finalist | None:
    """The first answer, with its names exchanged if that is likelier without context and about as coherent, as it is
    unless rules tell a concept from its opposite; None if there is none, since the search was stopped before any chain
    had a pass."""
    if not found:
        return None
    first = found[0]
    renamed = next((finalist for finalist in found if finalist.starts == (*first.starts, RENAMED)), first)
    assert first.u_own is not None
    assert renamed.u_own is not None
    return first if renamed.u_own < first.u_own - problem.slack else renamed


def _at_rates(
    problem: Problem,
    settings: BlockSettings,
    alone: Array,
    began: Finalist | None,
    grown: Array | None,
    rng: np.random.Generator,
) -> Answers:
    """Answers at several label rates, which follow from the answer `began` and the scores of the growing labels."""
    if began is None:
        return []
    assert began.scores is not None

    def combined(said: Array) -> Array:
        return _combined(settings, said, alone)

    quick = replace(settings, max_passes=settings.max_passes // 2)
    return (yield from answers_at_rates(problem, quick, began.scores, grown, combined, rng))


def _at_best_rates(problem: Problem, began: Finalist | None, at_rates: Sequence[AtRates]) -> list[Finalist]:
    """The most coherent answer at other rates than those of `began`, if U is higher there, or not clearly lower and its
    labels are of another concept. Even rates need a clear lead, since they cost the labels that are not even."""
    if began is None or not at_rates:
        return []
    first, best = at_rates[0], max(at_rates, key=lambda answer: answer.u)
    if best is first:
        others = [
            answer
            for answer in at_rates[1:]
            if first.u - answer.u <= problem.slack
            and np.ptp(answer.rates) > 0
            and agreement_beyond_chance(answer.labels, first.labels, problem.num_labels) < UNRELATED
        ]
        if not others:
            return []
        best = max(others, key=lambda answer: answer.u)
    is_even = np.ptp(best.rates) == 0
    lead, error = best.lead(first)
    if is_even and lead <= CLEAR * error:
        return []
    return [Finalist((*began.starts, EVEN) if is_even else (UNEVEN,), best.labels, None, best.scores)]


def _combined(settings: BlockSettings, said: Array, alone: Array) -> Array:
    """The mean of a set of chains' scores `said` and the zero-shot scores `alone`, in nats. Those weigh the less, the
    less information they have about the chains' labels, compared with the chains' scores themselves."""
    labels = said.argmax(axis=1)
    of_chains, of_zero_shot = information(said, labels), information(alone, labels)
    share = min(max(of_zero_shot, 0.0) / of_chains, 1.0) if of_chains > 0 else 1.0
    weight = settings.zero_shot_weight * share
    scores: Array = (said + weight * alone) / (1 + weight)
    return scores


def _are_alike(settings: BlockSettings, one: Ints, other: Ints, num_labels: int) -> bool:
    """Whether two labellings agree as much beyond chance as even ones do that agree on `min_agreement`."""
    least = (settings.min_agreement - 1 / num_labels) / (1 - 1 / num_labels)
    return agreement_beyond_chance(one, other, num_labels) >= least


def agreement_beyond_chance(one: Ints, other: Ints, num_labels: int) -> float:
    """Cohen's kappa of two labellings: 1 if they are the same, 0 at the agreement that their label rates alone give.
    Where one label is rare, any two agree on most examples."""
    by_chance = float((label_rates(one, num_labels) * label_rates(other, num_labels)).sum())
    return 1.0 if by_chance == 1.0 else float(((one == other).mean() - by_chance) / (1 - by_chance))


def likelier_names(labels: Ints, alone: Array) -> Ints:
    """A permutation [label] of label names that makes `labels` likelier without context, found by repeating the best
    exchange of two names. It is optimal for two labels; for more, no single exchange improves it."""
    num_labels = alone.shape[1]
    gains = np.array([alone[labels == label].sum(axis=0) for label in range(num_labels)])
    names = np.arange(num_labels)  # the new name of each label
    while True:
        now = gains[:, names]  # [label, other]: the label with the other's name
        better = now + now.T - now.diagonal()[:, None] - now.diagonal()
        one, other = np.unravel_index(better.argmax(), better.shape)
        if better[one, other] <= NEXT_TO_NOTHING:
            return np.argsort(names)
        names[[one, other]] = names[[other, one]]


def _likelier_of_equals(problem: Problem, candidates: list[Candidate], alone: Array) -> list[Candidate]:
    """Moves another candidate to the front if its U is not clearly lower than the best and other evidence speaks for
    it.

    Known labels decide between all. Without them, labels at uneven rates that the search tried give way to those of the
    same concept whose rates follow from their scores. Between unrelated concepts, which can be equally coherent, as a
    concept and its opposite are, the sum of U and of what the zero-shot scores `alone` say decides. The zero-shot
    labels themselves do not win by this, since their scores speak for them in any case.
    """
    best, is_known = candidates[0], problem.is_known

    def is_close(rival: Candidate, least: float) -> bool:
        lead, error = candidates[0].lead(rival)
        return len(rival.us) >= len(candidates[0].us) and lead <= max(CLEAR * error, least)

    def is_related(rival: Candidate) -> bool:
        return agreement_beyond_chance(best.labels, rival.labels, alone.shape[1]) >= UNRELATED

    def known_evidence(candidate: Candidate) -> float:
        scores = alone if candidate.scores is None else candidate.scores
        return float(normalized(scores)[is_known, candidate.labels[is_known]].mean())

    def evidence(candidate: Candidate) -> float:
        return candidate.u + information(alone, candidate.labels)

    if is_known.any():
        best = max([best, *(one for one in candidates if is_close(one, 0.0))], key=known_evidence)
    else:
        rivals = [one for one in candidates[1:] if one.starts != (ZERO_SHOT_ALONE,) and is_close(one, problem.slack)]
        if best.starts == (UNEVEN,):
            best = next(filter(is_related, rivals), best)
        best = max([best, *(one for one in rivals if not is_related(one))], key=evidence)
    return [best, *(candidate for candidate in candidates if candidate is not best)]


def _expected_passes(settings: BlockSettings, num_examples: int) -> ExpectedPasses:
    """A chain cools and then settles within a few passes if the data have structure."""
    num_of_chain = min(settings.max_passes, settings.num_hot_passes + 3)
    num_of_chains = settings.num_chains * num_of_chain
    return ExpectedPasses(1 + len(settings.growing_sizes) + num_of_chains + 2 * settings.num_final_orders)


BLOCKS = SearchKind(
    "blocks",
    "this project's",
    BlockSettings,
    blocks,
    expected_passes=_expected_passes,
    with_chains=lambda settings, num: replace(settings, num_chains=num, max_chains=num),
    with_passes=lambda settings, num: replace(settings, max_passes=num),
    passes_help="passes of a chain",
    can_stop=True,
    num_answers=5,
    respects_rates=True,
    starts_from_labels=True,
    # It has several answers and evaluates them itself; those tokens are counted.
    presets=(Preset("blocks", BlockSettings(), takes_part="always"),),
)
