"""Block search: the project's own. One pass proposes labels for half of the examples, and they move at once."""

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
"""Nats that keep a label as long as nothing else is known, and that are no gain."""
ZERO_SHOT = "zero-shot"
OSCILLATION = 0.2
"""Share of the labels that has to change for a chain to be called oscillating; single undecided examples always do."""


@dataclass(frozen=True)
class BlockSettings:
    """How a block search moves."""

    num_chains: int = 3
    """The first chain starts from calibrated zero-shot labels, the others from random ones."""
    max_passes: int = 12
    """The most passes of a chain; each relabels half of the groups."""
    num_hot_passes: int = 5
    """Passes over which a chain that began at random cools down."""
    heat: float = 0.5
    """Its first temperature, in units of the median gain that its first pass proposes."""
    memory: float = 0.5
    """Weight of what earlier cold passes said of an example against what the present one says."""
    settled: float = 0.04
    """A cold chain ends when two passes in a row changed no more than this share of the labels."""
    min_agreement: float = 0.8
    """Chains whose labels agree on at least this share are taken for one answer, and averaged."""
    zero_shot_weight: float = 0.5
    """What the zero-shot pass said counts this much in an answer, where what a chain's passes said counts 1."""
    num_final_orders: int = 3
    """Common fresh orders that the answers are weighed on."""


def blocks(problem: Problem, settings: BlockSettings, seed: int, start_labels: Ints | None = None) -> Search:
    """Several chains of block moves; those that end alike are averaged; answers are weighed on common fresh orders.
    With `start_labels`, all chains begin there, hot.

    A move is a draw from the calibrated conditional distribution (each label's mean over the pass is subtracted) at
    the chain's temperature, so nothing has to be accepted or rejected: between two fresh orders, dU is mostly the
    orders' noise. The chain that begins with zero-shot labels knows something that heat would destroy, and stays cold.
    """
    rngs = np.random.default_rng(seed).spawn(settings.num_chains + 1)
    (zero_shot,) = yield [zero_shot_request(problem)]
    alone = calibrated(zero_shot.logprobs)
    if start_labels is None:
        starts = [(ZERO_SHOT, problem.consistency.best(alone))]
        for rng in rngs[1 : settings.num_chains]:
            draws = rng.random((problem.num_examples, problem.num_labels))
            starts.append(("random", problem.consistency.best(draws)))
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
    """One chain from these labels; `heat` in units of the median gain that its first pass proposes, 0 for none."""
    evidence = _Evidence(labels, problem.num_labels, settings.memory)
    first_temperature, num_quiet = 0.0, 0
    us: list[float] = []
    cold: list[Ints] = []
    sides: tuple[Ints, Ints] = (np.array([]), np.array([]))
    for number in range(settings.max_passes if len(problem.consistency.groups) > 1 else 0):
        # What was context is relabelled next, so that two passes reach everybody.
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
        proposed = problem.consistency.best(_heated(evidence.scores, temperature, rng))
        num_changed = int((proposed[queries] != labels[queries]).sum())
        labels = labels.copy()  # what was asked stays as it was
        labels[queries] = proposed[queries]
        if is_cold and number % 2:
            cold.append(labels)
        num_quiet = num_quiet + 1 if is_cold and num_changed <= settings.settled * len(labels) else 0
        if num_quiet == 2:
            break
    return ChainEnd(labels, evidence.scores, us, _is_two_cycle(cold))


class _Evidence:
    """What a chain's passes said of each example: cold passes are averaged, hot ones forgotten."""

    def __init__(self, labels: Ints, num_labels: int, memory: float):
        # Until a pass says something of an example, it keeps its label.
        self.scores: Array = NEXT_TO_NOTHING * np.eye(num_labels)[labels]
        self._is_kept = np.zeros(len(labels), dtype=bool)
        self._memory = memory

    def add(self, queries: Ints, said: Array, is_cold: bool) -> None:
        """A pass said this, [query, label], calibrated."""
        kept = np.where(self._is_kept[queries], self._memory, 0.0)[:, None]
        self.scores[queries] = kept * self.scores[queries] + (1 - kept) * said
        self._is_kept[queries] = is_cold


def _is_two_cycle(states: Sequence[Ints]) -> bool:
    """True if the last change of many labels took back the one before: what labels that all move at once can do."""
    if len(states) < 3:
        return False
    changed = states[-1] != states[-2]
    taken_back = changed & (states[-1] == states[-3])
    return bool(changed.mean() > OSCILLATION and taken_back.sum() > 0.9 * changed.sum())


def _split(problem: Problem, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """The groups' numbers at random on two sides, with about as many units on each as the groups' sizes allow."""
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
    """Labels, order and queries of a pass: all groups on the `second` side are asked behind those on the `first`.

    The context is half of all units, or the whole first side where that holds less; then those that are asked are
    shown without their labels, so that none of them is context.
    """
    in_front, behind = (
        rng.permutation(np.concatenate([problem.units_of_group[group] for group in groups]))
        for groups in (first, second)
    )
    queries = np.sort(np.concatenate([problem.consistency.groups[group] for group in second]))
    shown = labels
    if len(behind) > len(in_front) + 1:  # the middle of the order stands behind the first side
        shown = labels.copy()
        shown[queries] = -1
    return shown, np.concatenate([in_front, behind]), queries


def _median_gain(scores: Array) -> float:
    """By how much the median example's best label beats its next best."""
    ranked = np.sort(scores, axis=1)
    return float(np.median(ranked[:, -1] - ranked[:, -2]))


def _heated(scores: Array, temperature: float, rng: np.random.Generator) -> Array:
    """Scores whose argmax is a draw by softmax(scores / temperature): Gumbel noise is added (a heat bath)."""
    return scores + temperature * rng.gumbel(size=scores.shape) if temperature else scores


def _answers(
    problem: Problem, settings: BlockSettings, alone: Array, starts: Sequence[str], ends: Sequence[ChainEnd]
) -> list[Finalist]:
    """Chains that ended alike as one answer: the best labels by the mean of what their last passes said, and by what
    was said without any context (`alone`): another look at the example, whose errors are not the contexts'.

    An answer whose labels would be likelier alone if they exchanged their names is joined by that one, unless a chain
    has found it: chains that began far from what the words mean may all have ended at its opposite.
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
    scores = (said + weight * alone) / (1 + weight)  # a mean, so still in nats
    return Finalist(starts, problem.consistency.best(scores), u, scores)


def _are_alike(settings: BlockSettings, one: Ints, other: Ints) -> bool:
    return bool((one == other).mean() >= settings.min_agreement)


def likelier_names(labels: Ints, alone: Array) -> Ints:
    """Which label [label] gets each label's scores, so that `labels` become likelier alone: the best exchange of two
    names, as long as one helps. For two labels that is the best; for more, a maximum that no exchange improves."""
    num_labels = alone.shape[1]
    gains = np.array([alone[labels == label].sum(axis=0) for label in range(num_labels)])
    names = np.arange(num_labels)  # the name that each label gets
    while True:
        now = gains[:, names]  # [label, other]: the label by the other's name
        better = now + now.T - now.diagonal()[:, None] - now.diagonal()
        one, other = np.unravel_index(better.argmax(), better.shape)
        if better[one, other] <= NEXT_TO_NOTHING:
            return np.argsort(names)
        names[[one, other]] = names[[other, one]]


def _likelier_of_opposites(candidates: list[Candidate], alone: Array) -> list[Candidate]:
    """The candidates with another one first if U cannot tell it from the best, the two are less alike than chance, and
    its labels are likelier without any context. A concept and its opposite are equally coherent, whatever the labels
    are called; which of the two the label words mean is what the model says of a single example.
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
    """A chain cools and then settles within a few passes, where there is something to find."""
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
    # It weighs its answers itself, since it has several; that is counted.
    presets=(Preset("blocks", BlockSettings(), takes_part="always"),),
)
