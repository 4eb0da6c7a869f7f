"""What a search is: a generator that yields rounds of PassRequests, is sent their passes, and returns a Result.

    search = blocks(problem, settings, seed)
    asks = next(search)                      ask
    asks = search.send(passes)               tell, and ask again
    StopIteration.value                      the Result

A search touches no network, no file, no clock and no global random generator, so the same answers always give the
same labels, and a run is resumed by telling its search once more what the journal holds.

A baseline that has no end of its own can be stopped between two rounds, and ends with what it has:

    search.throw(StopSearch())                   goes on like send
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import Objective, calibrated, margins
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind


class StopSearch(Exception):  # noqa: N818  (no error)
    """Thrown into a search that is to ask no more and end with the labels that it has."""


TWO_FOLDS = PlanKind("folds", 2)
"""One half of the units is scored behind the other."""


@dataclass(frozen=True)
class Problem:
    """What a search knows of the data: numbers, never texts, never gold."""

    num_examples: int
    num_labels: int
    units: Sequence[Ints]
    """What is left out of its own context together."""
    consistency: Consistency
    objective: Objective
    plan: PlanKind

    @property
    def all_examples(self) -> Ints:
        return np.arange(self.num_examples)

    def u(self, answer: PassResult, labels: Ints) -> float:
        """U of a complete assignment by a pass over everybody."""
        return self.objective.u(answer.logprobs, labels, self.consistency.num_contradictions(labels))

    @cached_property
    def units_of_group(self) -> list[Ints]:
        """The numbers of the units that hold each group's examples."""
        unit_of = np.empty(self.num_examples, dtype=np.int64)
        for number, unit in enumerate(self.units):
            unit_of[unit] = number
        return [np.unique(unit_of[group]) for group in self.consistency.groups]

    def request(self, labels: Ints, order: Ints, purpose: str) -> PassRequest:
        """A leave-one-unit-out pass over everybody, by the run's plan."""
        return PassRequest(labels, self.all_examples, order, self.plan, purpose)


class ChainEnd(NamedTuple):
    """Where one chain ended."""

    labels: Ints
    evidence: Array
    """[example, label]: what the chain's last passes said, calibrated."""
    us: list[float]
    """U by each of its passes, before their moves; not comparable with another chain's, whose orders were others."""
    oscillates: bool
    """True if it was going back and forth between two labellings."""

    @property
    def u(self) -> float:
        """U by the last two passes, which together reach everybody."""
        return float(np.mean(self.us[-2:])) if self.us else 0.0


class Finalist(NamedTuple):
    """An answer that is to be weighed."""

    starts: tuple[str, ...]
    """What the chains that found it began with (`zero-shot`, `random`), and `renamed` if its labels are theirs by other
    names."""
    labels: Ints
    u_own: float | None = None
    """U by the search's own last passes, if any of them was behind these labels."""
    scores: Array | None = None
    """[example, label]: what the labels were chosen by, in nats, where a search says so; `blocks` does."""


@dataclass(frozen=True)
class Candidate:
    """An answer, weighed on the orders that all candidates share."""

    starts: tuple[str, ...]
    labels: Ints
    u_own: float
    """U by the search's own last passes; `u` where it had none that tell."""
    logprobs: Array
    """[example, label], raw, averaged over the common orders."""
    us: list[float]
    """U on each common order; none if nobody wanted it weighed."""
    scores: Array | None = None
    """As the finalist's."""

    @property
    def margins(self) -> Array:
        """[example]: by how many nats its label is likelier than the next best one, by what the labels were chosen by,
        or by `logprobs` where a search does not say. Below zero where another label is the likelier one by that:
        because of a rule, or because `logprobs` contradict what a search went by."""
        return margins(self.logprobs if self.scores is None else self.scores, self.labels)

    @property
    def u(self) -> float:
        return _mean_and_error(self.us)[0]

    @property
    def u_se(self) -> float:
        """Standard error of U over the orders; 0 if there is but one."""
        return _mean_and_error(self.us)[1]

    def lead(self, rival: Candidate) -> tuple[float, float]:
        """By how much its U is the higher one, on the orders that both share, and the standard error of that."""
        return _mean_and_error(np.subtract(self.us, rival.us))


@dataclass(frozen=True)
class Result:
    """What a search found: all candidates, the winner first."""

    candidates: list[Candidate]
    zero_shot: PassResult | None
    u_start: float | None = None
    """U of the calibrated zero-shot labels by a chain's first pass; None if none began there."""
    chains: Sequence[Ints] = ()
    """Every chain's own last labels."""
    num_oscillating: int = 0
    """Chains that were going back and forth between two labellings."""
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def winner(self) -> Candidate:
        return self.candidates[0]

    @property
    def zero_shot_labels(self) -> Ints:
        """What calibrated zero-shot would have said; -1 throughout if it was not asked."""
        if self.zero_shot is None:
            return np.full(len(self.winner.labels), -1)
        labels: Ints = calibrated(self.zero_shot.logprobs).argmax(axis=1)
        return labels


Round = list[PassRequest]
Search = Generator[Round, list[PassResult], Result]
Chain = Generator[PassRequest, PassResult, ChainEnd]
"""One chain: yields single PassRequests."""


def lockstep(chains: Sequence[Chain]) -> Generator[Round, list[PassResult], list[ChainEnd]]:
    """Runs chains side by side: a round holds one PassRequest of each that still runs. Returns their ends, in order."""
    ends: list[ChainEnd | None] = [None] * len(chains)
    answers: list[PassResult | None] = [None] * len(chains)
    running = list(range(len(chains)))
    while running:
        requests: list[PassRequest] = []
        for number in list(running):
            try:
                answer = answers[number]
                request = next(chains[number]) if answer is None else chains[number].send(answer)
                requests.append(replace(request, purpose=f"chain {number + 1}"))
            except StopIteration as stop:
                ends[number] = stop.value
                running.remove(number)
        if requests:
            answered = yield requests
            for number, answer in zip(running, answered, strict=True):
                answers[number] = answer
    return [end for end in ends if end is not None]


def zero_shot_request(problem: Problem) -> PassRequest:
    """Every example alone, without any context."""
    unlabelled = np.full(problem.num_examples, -1)
    return PassRequest(unlabelled, problem.all_examples, np.arange(len(problem.units)), problem.plan, "zero-shot")


def weigh(
    problem: Problem, finalists: Sequence[Finalist], num_orders: int, rng: np.random.Generator
) -> Generator[Round, list[PassResult], list[Candidate]]:
    """Scores final labels on common fresh orders and returns candidates, the highest mean U first.

    With no order at all nothing is asked: the candidates keep their order, and their log-probabilities are NaN.
    """
    orders = [rng.permutation(len(problem.units)) for _ in range(num_orders)]
    distinct: dict[bytes, Finalist] = {}
    for finalist in finalists:
        distinct.setdefault(finalist.labels.tobytes(), finalist)
    contenders = list(distinct.values())
    passes: list[list[PassResult]] = [[] for _ in contenders]
    for order in orders:
        answered = yield [problem.request(finalist.labels, order, "finalists") for finalist in contenders]
        for own_passes, answer in zip(passes, answered, strict=True):
            own_passes.append(answer)
    candidates = []
    for finalist, own_passes in zip(contenders, passes, strict=True):
        us = [problem.u(answer, finalist.labels) for answer in own_passes]
        u_own = _mean_and_error(us)[0] if finalist.u_own is None else finalist.u_own
        labels, scores = finalist.labels, finalist.scores
        candidates.append(Candidate(finalist.starts, labels, u_own, _mean(problem, own_passes), us, scores))
    return sorted(candidates, key=lambda candidate: -candidate.u)


def weigh_alone(
    problem: Problem, name: str, labels: Ints, zero_shot: PassResult, num_orders: int, rng: np.random.Generator
) -> Search:
    """The end of a search that has found a single answer, and has no U of its own."""
    return Result((yield from weigh(problem, [Finalist((name,), labels)], num_orders, rng)), zero_shot)


def _mean_and_error(values: Sequence[float] | Array) -> tuple[float, float]:
    if not len(values):
        return float("nan"), 0.0
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return float(np.mean(values)), error


def _mean(problem: Problem, passes: Sequence[PassResult]) -> Array:
    if not passes:
        return np.full((problem.num_examples, problem.num_labels), np.nan)
    mean: Array = np.mean([answer.logprobs for answer in passes], axis=0)
    return mean
