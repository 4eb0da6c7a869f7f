"""Block search, this project's default. One pass proposes labels for half of the examples, which change at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import calibrated
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.search.base import (
    TWO_FOLDS,
    Candidate,
    Chain,
    ChainEnd,
    Finalist,
    Problem,
    Result,
    Search,
    lockstep,
    weigh,
    zero_shot_request,
)
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind

NEXT_TO_NOTHING = 1e-9
"""Bonus in nats of an example's current label before any evidence; smaller than any real gain."""
ZERO_SHOT = "zero-shot"
OSCILLATION = 0.2
"""Share of labels that must change for a chain to count as oscillating; a few undecided examples always change."""


@dataclass(frozen=True)
class BlockSettings:
    """Options of block search."""

    num_chains: int = 3
    """Number of chains. The first starts from calibrated zero-shot labels, the others from random labels."""
    max_passes: int = 12
    """Maximum passes of a chain; each relabels half of the groups."""
    num_hot_passes: int = 5
    """Passes over which a chain with a random start cools down."""
    heat: float = 0.5
    """Initial temperature of such a chain, in units of the median gain proposed by its first pass."""
    memory: float = 0.5
    """Weight of the earlier cold passes in an example's running mean; the current pass has the rest."""
    settled: float = 0.04
    """A cold chain ends when two consecutive passes change at most this share of the labels."""
    min_agreement: float = 0.8
    """Chains whose labels agree on at least this share count as one answer and are averaged."""
    zero_shot_weight: float = 0.5
    """Weight of the zero-shot pass in an answer, relative to a weight of 1 for the chains' passes."""
    num_final_orders: int = 3
    """Number of common fresh orders on which the answers are evaluated."""


def blocks(problem: Problem, settings: BlockSettings, seed: int, start_labels: Ints | None = None) -> Search:
    """Runs several chains of block moves, averages chains with similar ends, and evaluates the answers on common fresh
    orders. With `start_labels`, all chains start from them, hot.

    A move is a draw from the calibrated conditional distribution (each label's mean over the pass is subtracted) at the
    chain's temperature. There is no acceptance step, since dU between two fresh orders is mostly noise. The chain with
    the zero-shot start stays at temperature 0, since heat would destroy its information.
    """
    rngs = np.random.default_rng(seed).spawn(settings.num_chains + 1)
    (zero_shot,) = yield [zero_shot_request(problem)]
    alone = calibrated(zero_shot.logprobs)
    if start_labels is None:
        starts = [(ZERO_SHOT, problem.best(alone))]
        for rng in rngs[1 : settings.num_chains]:
            draws = rng.random((problem.num_examples, problem.num_labels))
            starts.append(("random", problem.best(draws)))
    else:
        starts = [("given", start_labels)] * settings.num_chains
    chains = [
        _chain(problem, settings, labels, 0.0 if start == ZERO_SHOT else settings.heat, rng)
        for (start, labels), rng in zip(starts, rngs, strict=False)
    ]
    ends = yield from lockstep(chains)
    finalists = _answers(problem, settings, alone, [start for start, _ in starts], ends)
    candidates = yield from weigh(problem, finalists, settings.num_final_orders, rngs[-1])
    candidates = _likelier_of_opposites(candidates, alone)
    u_start = ends[0].us[0] if start_labels is None and ends[0].us else None
    num_oscillating = sum(end.oscillates for end in ends)
    return Result(candidates, zero_shot, u_start, [end.labels for end in ends], num_oscillating)


def _chain(problem: Problem, settings: BlockSettings, labels: Ints, heat: float, rng: np.random.Generator) -> Chain:
    """One chain from these labels; `heat` is in units of the median gain of its first pass, 0 for a cold chain."""
    evidence = _Evidence(labels, problem.num_labels, settings.memory)
    first_temperature, num_quiet = 0.0, 0
    us: list[float] = []
    cold: list[Ints] = []
    sides: tuple[Ints, Ints] = (np.array([]), np.array([]))
    for number in range(settings.max_passes if len(problem.consistency.groups) > 1 else 0):
        # The context of one pass is relabelled in the next, so two passes cover all examples.
        sides = _split(problem, rng) if number % 2 == 0 else sides[::-1]
        shown, order, queries = _half(problem, labels, *sides, rng)
        temperature = first_temperature * max(0.0, 1 - number / max(settings.num_hot_passes, 1))
        reported = None if number == 0 and heat else temperature  # the first temperature is taken from this pass
        answer = yield PassRequest(shown, queries, order, TWO_FOLDS, "chain", reported)
        share = len(queries) / problem.num_examples
        us.append(problem.objective.of_all(problem.objective.predictability(answer.logprobs, labels[queries]), share))
        said = calibrated(answer.logprobs)
        if number == 0 and settings.num_hot_passes:
            first_temperature = temperature = heat * _median_gain(said)
        is_cold = temperature == 0
        evidence.add(queries, said, is_cold)
        proposed = problem.best(_heated(evidence.scores, temperature, rng))
        num_changed = int((proposed[queries] != labels[queries]).sum())
        labels = labels.copy()  # the request must not change
        labels[queries] = proposed[queries]
        if is_cold and number % 2:
            cold.append(labels)
        num_quiet = num_quiet + 1 if is_cold and num_changed <= settings.settled * len(labels) else 0
        if num_quiet == 2:
            break
    return ChainEnd(labels, evidence.scores, us, _is_two_cycle(cold))


class _Evidence:
    """A chain's scores by example: cold passes are averaged, hot passes are discarded."""

    def __init__(self, labels: Ints, num_labels: int, memory: float):
        # An example keeps its label until a pass has scored it.
        self.scores: Array = NEXT_TO_NOTHING * np.eye(num_labels)[labels]
        self._is_kept = np.zeros(len(labels), dtype=bool)
        self._memory = memory

    def add(self, queries: Ints, said: Array, is_cold: bool) -> None:
        """Adds the calibrated log-probabilities [query, label] of a pass."""
        kept = np.where(self._is_kept[queries], self._memory, 0.0)[:, None]
        self.scores[queries] = kept * self.scores[queries] + (1 - kept) * said
        self._is_kept[queries] = is_cold


def _is_two_cycle(states: Sequence[Ints]) -> bool:
    """True if the last change of many labels reverted the one before, which can happen if all labels change at once."""
    if len(states) < 3:
        return False
    changed = states[-1] != states[-2]
    taken_back = changed & (states[-1] == states[-3])
    return bool(changed.mean() > OSCILLATION and taken_back.sum() > 0.9 * changed.sum())


def _split(problem: Problem, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """A random split of the groups into two sides with as equal numbers of units as the group sizes allow."""
    shuffled = rng.permutation(len(problem.consistency.groups))
    num_units, num_first = len(problem.units), 0
    is_first = np.zeros(len(shuffled), dtype=bool)
    for place, group in enumerate(shuffled):
        size = len(problem.units_of_group[group])
        if num_first + size / 2 <= num_units / 2:
            is_first[place] = True
            num_first += size
    return shuffled[is_first], shuffled[~is_first]


def _half(
    problem: Problem, labels: Ints, first: Ints, second: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Labels, order and queries of a pass that scores all groups of side `second` with side `first` as context.

    The context is half of all units, or all of side `first` if it has fewer; the queries then have no labels in the
    request, so that none of them is context.
    """
    in_front, behind = (
        rng.permutation(np.concatenate([problem.units_of_group[group] for group in groups]))
        for groups in (first, second)
    )
    queries = np.sort(np.concatenate([problem.consistency.groups[group] for group in second]))
    shown = labels
    if len(behind) > len(in_front) + 1:  # the middle of the order lies after the first side
        shown = labels.copy()
        shown[queries] = -1
    return shown, np.concatenate([in_front, behind]), queries


def _median_gain(scores: Array) -> float:
    """The median difference between the scores of an example's best and next best label."""
    ranked = np.sort(scores, axis=1)
    return float(np.median(ranked[:, -1] - ranked[:, -2]))


def _heated(scores: Array, temperature: float, rng: np.random.Generator) -> Array:
    """Scores with Gumbel noise, whose argmax is a draw from softmax(scores / temperature) (a heat bath)."""
    return scores + temperature * rng.gumbel(size=scores.shape) if temperature else scores


def _answers(
    problem: Problem, settings: BlockSettings, alone: Array, starts: Sequence[str], ends: Sequence[ChainEnd]
) -> list[Finalist]:
    """One answer for each set of chains with similar ends: the best labels by the mean scores of their last passes and
    the zero-shot scores (`alone`), whose errors are independent of the contexts.

    If exchanging the names of its labels makes an answer likelier without context, the renamed answer is added, unless
    a chain has found it: all chains may have ended at the opposite of the labels' meaning.
    """
    clusters: list[list[int]] = []
    for number in sorted(range(len(ends)), key=lambda number: -ends[number].u):
        labels = ends[number].labels
        for cluster in clusters:
            if _are_alike(settings, ends[cluster[0]].labels, labels):
                cluster.append(number)
                break
        else:
            clusters.append([number])

    found, renamed = [], []
    for cluster in clusters:
        said = np.mean([ends[number].evidence for number in cluster], axis=0)
        began = tuple(starts[k] for k in cluster)
        found.append(_answer(problem, settings, alone, said, began, ends[cluster[0]].u))
        names = likelier_names(found[-1].labels, alone)
        renamed.append(_answer(problem, settings, alone, said[:, names], (*began, "renamed"), None))
    for finalist in renamed:
        if not any(_are_alike(settings, finalist.labels, other.labels) for other in found):
            found.append(finalist)
    return found


def _answer(
    problem: Problem, settings: BlockSettings, alone: Array, said: Array, starts: tuple[str, ...], u: float | None
) -> Finalist:
    weight = settings.zero_shot_weight
    scores = (said + weight * alone) / (1 + weight)  # a mean, so in nats
    return Finalist(starts, problem.best(scores), u, scores)


def _are_alike(settings: BlockSettings, one: Ints, other: Ints) -> bool:
    return bool((one == other).mean() >= settings.min_agreement)


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


def _likelier_of_opposites(candidates: list[Candidate], alone: Array) -> list[Candidate]:
    """Moves another candidate to the front if its U is not significantly lower than the best, the two agree less than
    by chance, and its labels are likelier without context. A concept and its opposite are equally coherent; only the
    zero-shot pass shows which of the two the label words mean.
    """
    best, num_labels = candidates[0], alone.shape[1]

    def likelihood(candidate: Candidate) -> float:
        return float(alone[np.arange(len(alone)), candidate.labels].mean())

    def is_opposite(rival: Candidate) -> bool:
        lead, error = best.lead(rival)
        return (best.labels == rival.labels).mean() < 1 / num_labels and lead <= 2 * error

    first = max([best, *filter(is_opposite, candidates)], key=likelihood)
    return [first, *(candidate for candidate in candidates if candidate is not first)]


def _expected_passes(settings: BlockSettings, num_examples: int) -> ExpectedPasses:
    """A chain cools and then settles within a few passes if the data have structure."""
    chain = min(settings.max_passes, settings.num_hot_passes + 3)
    return ExpectedPasses(1 + settings.num_chains * chain + 2 * settings.num_final_orders)


BLOCKS = SearchKind(
    "blocks",
    "this project's",
    BlockSettings,
    blocks,
    expected_passes=_expected_passes,
    with_chains=lambda settings, num: replace(settings, num_chains=num),
    with_passes=lambda settings, num: replace(settings, max_passes=num),
    passes_help="passes of a chain",
    respects_rates=True,
    starts_from_labels=True,
    # It has several answers and evaluates them itself; those tokens are counted.
    presets=(Preset("blocks", BlockSettings(), takes_part="always"),),
)
