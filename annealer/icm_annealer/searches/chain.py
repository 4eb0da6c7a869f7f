"""One chain of block search: passes that each propose labels for half of the examples, which all change at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints, all_but
from icm_annealer.core.label_balance import LabelRates, smoothed_shifts
from icm_annealer.core.objective import calibrated, label_rates
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.search.base import TWO_FOLDS, Problem, Round, StopSearch
from icm_annealer.search.shots import as_many_of_each, only

NEXT_TO_NOTHING = 1e-9
"""Bonus in nats of an example's current label before any evidence; smaller than any real gain."""
OSCILLATION = 0.2
"""Share of labels that must change for a chain to count as oscillating; a few undecided examples always change."""
LEAST_SHARE = 0.5
"""A label is nearly lost below this fraction of its even share."""
SMOOTHING = 0.25
"""Nats by which proposals at even label rates are smoothed: examples that prefer a label by less count in part."""


@dataclass(frozen=True)
class ChainSettings:
    """Options of a chain."""

    max_passes: int = 12
    """Maximum passes of a chain; each relabels half of the groups."""
    num_hot_passes: int = 5
    """Passes over which a chain with a random start cools down."""
    num_even_passes: int = 5
    """First passes of a chain in which proposals that nearly lose a label are replaced by proposals with all labels
    equally often: the contexts do not show yet what the label means."""
    heat: float = 0.5
    """Initial temperature of a hot chain, in units of the median gain proposed by its first pass."""
    memory: float = 0.5
    """Weight of the earlier cold passes in an example's running mean; the current pass has the rest."""
    settled: float = 0.04
    """A cold chain ends when two consecutive passes change at most this share of the labels."""


class ChainEnd(NamedTuple):
    """The end state of one chain."""

    labels: Ints
    evidence: Array
    """[example, label]: calibrated log-probabilities of the chain's last passes."""
    us: list[float]
    """U at each of its passes, before the move; not comparable with other chains, whose orders differ."""
    oscillates: bool
    """True if it alternated between two labellings."""

    @property
    def u(self) -> float:
        """U of the last two passes, which together cover all examples."""
        return float(np.mean(self.us[-2:])) if self.us else 0.0


Chain = Generator[PassRequest, PassResult, ChainEnd]
"""One chain: yields single PassRequests."""


def chain(problem: Problem, settings: ChainSettings, labels: Ints, heat: float, rng: np.random.Generator) -> Chain:
    """One chain from these labels; `heat` is in units of the median gain of its first pass, 0 for a cold chain.

    A move is a draw from the calibrated conditional distribution (all labels have the same mean and spread over the
    pass) at the chain's temperature. There is no acceptance step, since dU between two fresh orders is mostly noise.
    """
    evidence = _Evidence(labels, problem.num_labels, settings.memory)
    first_temperature, num_quiet = 0.0, 0
    us: list[float] = []
    cold: list[Ints] = []
    sides: tuple[Ints, Ints] = (np.array([]), np.array([]))
    for number in range(settings.max_passes if len(problem.consistency.groups) > 1 else 0):
        # The context of one pass is relabelled in the next, so two passes cover all examples.
        sides = _split(problem, rng) if number % 2 == 0 else sides[::-1]
        shown, order, queries = _half(problem, labels, *sides, rng)
        if problem.rates is not None:
            shown = _with_even_context(problem, shown, queries, rng)
        temperature = first_temperature * max(0.0, 1 - number / max(settings.num_hot_passes, 1))
        reported = None if number == 0 and heat else temperature  # the first temperature is taken from this pass
        try:
            answer = yield PassRequest(shown, queries, order, TWO_FOLDS, "chain", reported)
        except StopSearch:
            break
        share = len(queries) / problem.num_examples
        us.append(problem.objective.of_all(problem.objective.predictability(answer.logprobs, labels[queries]), share))
        said = calibrated(answer.logprobs)
        if number == 0 and settings.num_hot_passes:
            first_temperature = temperature = heat * _median_gain(said)
        is_cold = temperature == 0
        evidence.add(queries, said, is_cold)
        scores = _heated(evidence.scores, temperature, rng)
        proposed = problem.best(scores)
        if number < settings.num_even_passes and _loses_label(problem, proposed[queries]):
            scores = scores.copy()
            scores[queries] = evened(scores[queries])
            proposed = problem.best(scores)
        num_changed = int((proposed[queries] != labels[queries]).sum())
        labels = labels.copy()  # the request must not change
        labels[queries] = proposed[queries]
        if is_cold and number % 2:
            cold.append(labels)
        num_quiet = num_quiet + 1 if is_cold and num_changed <= settings.settled * len(labels) else 0
        if num_quiet == 2:
            break
    return ChainEnd(labels, evidence.scores, us, _is_two_cycle(cold))


def lockstep(
    chains: Sequence[Chain], first_number: int = 1, purpose: str = "chain"
) -> Generator[Round, list[PassResult], list[ChainEnd]]:
    """Runs chains in parallel: a round holds one PassRequest of each running chain. Returns their ends, in order.

    The purposes of their requests are `purpose` and a number from `first_number` on. If the search is stopped, they end
    where they are; those without a pass have no end."""
    ends: list[ChainEnd | None] = [None] * len(chains)
    answers: list[PassResult | None] = [None] * len(chains)
    running = list(range(len(chains)))
    while running:
        requests: list[PassRequest] = []
        for number in list(running):
            try:
                answer = answers[number]
                request = next(chains[number]) if answer is None else chains[number].send(answer)
                requests.append(replace(request, purpose=f"{purpose} {first_number + number}"))
            except StopIteration as stop:
                ends[number] = stop.value
                running.remove(number)
        if not requests:
            continue
        try:
            answered = yield requests
        except StopSearch:
            for number in running:
                if answers[number] is not None:
                    ends[number] = _stopped(chains[number])
            break
        for number, answer in zip(running, answered, strict=True):
            answers[number] = answer
    return [end for end in ends if end is not None]


def _stopped(running: Chain) -> ChainEnd:
    try:
        running.throw(StopSearch())
    except StopIteration as stop:
        end: ChainEnd = stop.value
        return end
    raise RuntimeError("a chain does not end when it is stopped")


def _loses_label(problem: Problem, proposed: Ints) -> bool:
    """Whether some label is nearly lost in these proposals. Proposals at stated label rates are right as they are."""
    rarest = label_rates(proposed, problem.num_labels).min()
    return problem.rates is None and bool(rarest < LEAST_SHARE / problem.num_labels)


def evened(scores: Array) -> Array:
    """`scores` [n, label], shifted label by label so that all labels are about equally frequent."""
    shifted: Array = scores + smoothed_shifts(scores, LabelRates.even(scores.shape[1]), SMOOTHING)
    return shifted


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


def _with_even_context(problem: Problem, labels: Ints, queries: Ints, rng: np.random.Generator) -> Ints:
    """`labels` without those of `queries`, and with as many of each label in the context."""
    others = all_but(problem.num_examples, queries)
    shuffled = others[np.lexsort((rng.random(len(others)), ~problem.is_known[others]))]  # known labels first
    return only(as_many_of_each(shuffled, labels, problem.num_labels), labels)


def _median_gain(scores: Array) -> float:
    """The median difference between the scores of an example's best and next best label."""
    ranked = np.sort(scores, axis=1)
    return float(np.median(ranked[:, -1] - ranked[:, -2]))


def _heated(scores: Array, temperature: float, rng: np.random.Generator) -> Array:
    """Scores with Gumbel noise, whose argmax is a draw from softmax(scores / temperature) (a heat bath)."""
    return scores + temperature * rng.gumbel(size=scores.shape) if temperature else scores
