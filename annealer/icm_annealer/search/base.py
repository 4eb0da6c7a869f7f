"""The interface of a search: a generator that yields rounds of PassRequests, receives their results, and returns a
Result.

    search = blocks(problem, settings, seed)
    requests = next(search)                  the first round
    requests = search.send(results)          the next round
    StopIteration.value                      the Result

A search uses no network, file, clock or global random generator, so the same answers always give the same labels, and a
run is resumed by replaying the answers in its journal.

A search can be stopped between two rounds; it then ends with its current labels:

    search.throw(StopSearch())               returns like send

What it yields then is a round that it would rather have, at which it may be stopped again, or one that it needs to end,
such as the first common order of its answers: at that it yields the same list again (`insisted`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints, all_but
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import Objective, calibrated, information_by_example, margins, normalized
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.shots import as_many_of_each


class StopSearch(Exception):  # noqa: N818  (no error)
    """Thrown into a search to end it with its current labels."""


FINALISTS = "finalists"
"""The purpose of the passes that evaluate answers."""
LABEL_RATES = "label rates"
"""The purpose of the passes that evaluate answers at several label rates."""
TWO_FOLDS = PlanKind("folds", 2)
"""Each half of the units is scored with the other half as context."""
NUM_KEPT = 3
"""Number of answers that are evaluated on more than one order."""
MOST_SHOTS = 2.0
"""Shots of a label, relative to the rarest label's, in contexts that measure U. Behind labels as they come, U of a
rare label depends on the order: gold labels of 150 text messages, 15 % spam, have 0.46 with a standard deviation of
0.26 over orders, and 0.60 with one of 0.01 behind such contexts."""
HOPELESS = 3.0
"""Standard errors: an answer whose U is so much below the best is not evaluated on more orders."""
SLACK = 0.075
"""Share of the most information by which U of an answer may be lower without being clearly lower: other labels of as
coherent a concept, or contexts, change it by as much."""
KNOWN_GAIN = 1e6
"""Nats added to the score of a known label, so that it wins against any score and, if need be, any shift."""


@dataclass(frozen=True)
class Problem:
    """The data as a search receives them: numbers, without texts or gold labels."""

    num_examples: int
    num_labels: int
    units: Sequence[Ints]
    """Examples that are left out of their context together."""
    consistency: Consistency
    objective: Objective
    plan: PlanKind
    known: Ints | None = None
    """[example]: the label numbers that the user knows, -1 where there is none; a search never changes them."""
    rates: LabelRates | None = None
    """The shares that the labels are known to have; None if they are unknown."""
    start: Ints | None = None
    """[example]: the labels to start from, -1 where there is none; None if the search has its own start."""

    @property
    def all_examples(self) -> Ints:
        return np.arange(self.num_examples)

    def best(self, scores: Array) -> Ints:
        """The labels with the highest total of `scores` [example, label], in nats, that the rules, the known labels and
        the label rates allow.

        Rules come first, then known labels. Rates are met as closely as the two and equal scores allow.
        """
        return self.consistency.best(self._with_known(self.with_rates(scores)))

    def likeliest(self, scores: Array) -> Ints:
        """As `best`, but without the rules."""
        labels: Ints = self._with_known(self.with_rates(scores)).argmax(axis=1)
        return labels

    def with_rates(self, scores: Array) -> Array:
        """`scores` with the shift of each label by which the best labels, known ones among them, have the stated
        rates."""
        return scores if self.rates is None else scores + self.rates.shifts(self._with_known(scores))

    @property
    def slack(self) -> float:
        """By how much U by the measure `information` may be lower without being clearly lower, in nats; 0 for other
        measures."""
        return SLACK * float(np.log(self.num_labels)) if self.objective.measure == "information" else 0.0

    @cached_property
    def is_known(self) -> npt.NDArray[np.bool_]:
        """[example]: whether its label is known."""
        return np.zeros(self.num_examples, dtype=bool) if self.known is None else self.known >= 0

    def held(self, labels: Ints) -> Ints:
        """`labels` [example] with the known labels in their places."""
        return labels if self.known is None else np.where(self.known >= 0, self.known, labels)

    def _with_known(self, scores: Array) -> Array:
        if self.known is None:
            return scores
        known: Array = scores + KNOWN_GAIN * (self.known[:, None] == np.arange(self.num_labels))
        return known

    def u(self, answer: PassResult, labels: Ints, order: Ints) -> float:
        """U of a complete labelling, from a pass over all examples in this order."""
        num_contradictions = self.consistency.num_contradictions(labels)
        return self.objective.u(answer.logprobs, labels, num_contradictions, self.contexts(order))

    def contributions(self, answer: PassResult, labels: Ints, order: Ints) -> Array:
        """What each example contributes [example] to U by the measure `information`, without contradictions."""
        return information_by_example(answer.logprobs, labels, self.contexts(order))

    def contexts(self, order: Ints) -> Ints | None:
        """[example]: which half of the order it is in, if each half is the other's context; None for other plans, whose
        contexts share most of their shots."""
        if self.plan != TWO_FOLDS or len(order) < 2:
            return None
        numbers = np.zeros(self.num_examples, dtype=np.int64)
        numbers[self._members(order[len(order) // 2 :])] = 1
        return numbers

    def contexts_of(self, request: PassRequest) -> Ints | None:
        """As `contexts`, for each of the queries of a pass; None if it is not one over all examples by the run's plan,
        as those of `request` are."""
        if request.plan != self.plan or len(request.queries) != self.num_examples:
            return None
        contexts = self.contexts(request.order)
        return None if contexts is None else contexts[request.queries]

    def _members(self, units: Ints) -> Ints:
        return np.concatenate([self.units[unit] for unit in units])

    @cached_property
    def units_of_group(self) -> list[Ints]:
        """The numbers of the units that hold each group's examples."""
        unit_of = np.empty(self.num_examples, dtype=np.int64)
        for number, unit in enumerate(self.units):
            unit_of[unit] = number
        return [np.unique(unit_of[group]) for group in self.consistency.groups]

    def request(self, labels: Ints, order: Ints, purpose: str) -> PassRequest:
        """A leave-one-unit-out pass over all examples, by the run's plan, for U of a complete labelling.

        In each half of the order, no label has more than `MOST_SHOTS` times as many shots as the rarest one.
        """
        middle = len(order) // 2
        shown = [self._evenly(labels, self._members(half)) for half in (order[:middle], order[middle:]) if len(half)]
        hidden = tuple(all_but(self.num_examples, np.concatenate(shown)).tolist())
        return PassRequest(labels, self.all_examples, order, self.plan, purpose, hidden=hidden)

    def _evenly(self, labels: Ints, examples: Ints) -> Ints:
        known_first = examples[np.argsort(~self.is_known[examples], kind="stable")]
        return as_many_of_each(known_first, labels, self.num_labels, MOST_SHOTS)


class Finalist(NamedTuple):
    """A final labelling that is still to be evaluated."""

    starts: tuple[str, ...]
    """The starts of the chains that found it (`zero-shot`, `random`), or `renamed` if their label names were
    exchanged."""
    labels: Ints
    u_own: float | None = None
    """U of the search's own last passes, if any of them used these labels."""
    scores: Array | None = None
    """[example, label]: the scores, in nats, whose best labels (`Problem.best`) these are; None if the search has
    none."""


@dataclass(frozen=True)
class Candidate:
    """A final labelling, evaluated on the orders that all candidates share."""

    starts: tuple[str, ...]
    labels: Ints
    u_own: float
    """U of the search's own last passes; `u` if there were none with these labels."""
    logprobs: Array
    """[example, label], raw, averaged over the common orders."""
    us: list[float]
    """U on each common order; empty if the labels were not evaluated."""
    scores: Array | None = None
    """The scores of the finalist, shifted to the label rates: without rules, each label that is not known has the
    highest of its example's."""
    contributions: Array | None = None
    """[example]: what each contributes to U by the measure `information` on the first common order, on which all
    candidates are evaluated; None without orders."""

    @property
    def evidence(self) -> Array:
        """[example, label], in nats: `scores`, or `logprobs` if there are none. Another label than the one found can be
        the highest because of a rule, or because `logprobs` differ from the passes that chose the label."""
        return self.logprobs if self.scores is None else self.scores

    @property
    def margins(self) -> Array:
        """[example]: how many nats its label is above the next best one in `evidence`; can be negative."""
        return margins(self.evidence, self.labels)

    @property
    def probs(self) -> Array:
        """[example, label]: the softmax of `evidence` over the labels."""
        probs: Array = np.exp(normalized(self.evidence))
        return probs

    @property
    def u(self) -> float:
        return mean_and_error(self.us)[0]

    @property
    def u_se(self) -> float:
        """Standard error of U over the orders; 0 if there is only one."""
        return mean_and_error(self.us)[1]

    def lead(self, rival: Candidate) -> tuple[float, float]:
        """The mean difference of its U and the rival's on their common orders, and its standard error."""
        num = min(len(self.us), len(rival.us))
        return mean_and_error(np.subtract(self.us[:num], rival.us[:num]))


class AtRates(NamedTuple):
    """An answer at given label rates, evaluated on one order that all rates share."""

    rates: Array
    """[label]: the shares that its labels have."""
    labels: Ints
    scores: Array
    """[example, label], in nats, shifted to the rates."""
    u: float
    contributions: Array
    """[example]: what each contributes to U by the measure `information`."""

    @property
    def error(self) -> float:
        """Standard error of U over the examples."""
        return error_over_examples(self.contributions)

    def lead(self, other: AtRates) -> tuple[float, float]:
        """How much higher its U is than the other's, and the standard error of that over the examples."""
        return self.u - other.u, error_over_examples(self.contributions - other.contributions)


@dataclass(frozen=True)
class Result:
    """The result of a search: all candidates, the winner first."""

    candidates: list[Candidate]
    zero_shot: PassResult | None
    u_start: float | None = None
    """U of the calibrated zero-shot labels in a chain's first pass; None if no chain started from them."""
    chains: Sequence[Ints] = ()
    """The last labels of each chain."""
    num_oscillating: int = 0
    """The number of chains that alternated between two labellings."""
    at_rates: Sequence[AtRates] = ()
    """Answers at several label rates, if the search tried any; the first is the one whose rates are its own."""
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def chosen(self) -> AtRates | None:
        """The answer of `at_rates` that the winner is; None if it is another."""
        return next((one for one in self.at_rates if (one.labels == self.winner.labels).all()), None)

    @property
    def uneven(self) -> AtRates | None:
        """`chosen`, if its rates are other ones than the search's own."""
        return None if self.chosen is None or self.chosen is self.at_rates[0] else self.chosen

    @property
    def winner(self) -> Candidate:
        return self.candidates[0]


def zero_shot_labels_of(problem: Problem, result: Result) -> Ints:
    """The calibrated zero-shot labels, with the problem's known labels and label rates but without its rules; all -1 if
    there was no zero-shot pass."""
    if result.zero_shot is None:
        return np.full(problem.num_examples, -1)
    return problem.likeliest(calibrated(result.zero_shot.logprobs))


def lead_by_example(one: Candidate, other: Candidate) -> tuple[float, float]:
    """The mean difference of what each example contributes to U of two candidates on the first common order, and its
    standard error over the examples. It leaves out that contexts are shared."""
    assert one.contributions is not None
    assert other.contributions is not None
    difference = one.contributions - other.contributions
    return float(difference.mean()), error_over_examples(difference)


def error_over_examples(contributions: Array) -> float:
    """The standard error of the mean of `contributions` [example]; infinite for one example."""
    num = len(contributions)
    return float(contributions.std(ddof=1) / np.sqrt(num)) if num > 1 else float("inf")


def zero_shot_candidate(problem: Problem, result: Result) -> Candidate | None:
    """The candidate with the calibrated zero-shot labels; None if the search did not evaluate them."""
    if result.zero_shot is None:
        return None
    labels = problem.best(calibrated(result.zero_shot.logprobs))
    return next((c for c in result.candidates if c.us and (c.labels == labels).all()), None)


Round = list[PassRequest]
Search = Generator[Round, list[PassResult], Result]


def zero_shot_request(problem: Problem) -> PassRequest:
    """A pass over all examples without context."""
    unlabelled = np.full(problem.num_examples, -1)
    return PassRequest(unlabelled, problem.all_examples, np.arange(len(problem.units)), problem.plan, "zero-shot")


def requested(requests: Round) -> Generator[Round, list[PassResult], list[PassResult]]:
    """The answers to a round. Raises StopSearch if the search is stopped."""
    return (yield requests)


def insisted(requests: Round) -> Generator[Round, list[PassResult], list[PassResult]]:
    """The answers to a round without which the search cannot end."""
    while True:
        try:
            return (yield requests)
        except StopSearch:
            pass


def weigh(
    problem: Problem, finalists: Sequence[Finalist], num_orders: int, rng: np.random.Generator
) -> Generator[Round, list[PassResult], list[Candidate]]:
    """Scores final labellings on common fresh orders and returns candidates, the highest mean U first.

    All are scored on the first order, and on further ones as long as they are among the best; those come first. Without
    orders there are no passes: the candidates keep their order, and their log-probabilities are NaN. A search that is
    stopped keeps the first order, since U is unknown without it.
    """
    distinct: dict[bytes, Finalist] = {}
    for finalist in finalists:
        distinct.setdefault(finalist.labels.tobytes(), finalist)
    candidates = [_candidate(problem, finalist) for finalist in distinct.values()]
    has_own = [finalist.u_own is not None for finalist in distinct.values()]
    passes: list[list[PassResult]] = [[] for _ in candidates]
    kept = list(range(len(candidates)))
    for number_of_order in range(num_orders):
        order = rng.permutation(len(problem.units))
        requests = [problem.request(candidates[number].labels, order, FINALISTS) for number in kept]
        try:
            answered = yield from requested(requests) if number_of_order else insisted(requests)
        except StopSearch:
            break
        for number, answer in zip(kept, answered, strict=True):
            passes[number].append(answer)
            candidates[number] = _evaluated(problem, candidates[number], passes[number], order, has_own[number])
        kept = _best(problem, candidates, kept)
    return sorted(candidates, key=lambda candidate: (-len(candidate.us), -candidate.u))


def _best(problem: Problem, candidates: Sequence[Candidate], kept: Sequence[int]) -> list[int]:
    """The numbers of the best of `kept`: at most `NUM_KEPT`, without those that the best surely and clearly exceeds, as
    far as the examples of the first order tell."""
    best = sorted(kept, key=lambda number: -candidates[number].u)[:NUM_KEPT]
    if problem.objective.measure != "information":
        return best
    leads = {number: lead_by_example(candidates[best[0]], candidates[number]) for number in best[1:]}
    return [
        best[0],
        *(number for number, (lead, error) in leads.items() if lead <= max(HOPELESS * error, problem.slack)),
    ]


def _candidate(problem: Problem, finalist: Finalist) -> Candidate:
    """The finalist before its first pass."""
    u_own = float("nan") if finalist.u_own is None else finalist.u_own
    scores = None if finalist.scores is None else problem.with_rates(finalist.scores)
    return Candidate(finalist.starts, finalist.labels, u_own, _mean(problem, []), [], scores)


def _evaluated(
    problem: Problem, candidate: Candidate, passes: Sequence[PassResult], order: Ints, has_own: bool
) -> Candidate:
    """The candidate with all its `passes`, of which the last one, over `order`, is new; `has_own` says whether the
    search's own passes gave it a U."""
    labels, contributions = candidate.labels, candidate.contributions
    us = [*candidate.us, problem.u(passes[-1], labels, order)]
    if contributions is None:
        contributions = problem.contributions(passes[-1], labels, order)
    u_own = candidate.u_own if has_own else mean_and_error(us)[0]
    return replace(candidate, us=us, u_own=u_own, logprobs=_mean(problem, passes), contributions=contributions)


def weigh_alone(
    problem: Problem,
    name: str,
    labels: Ints,
    zero_shot: PassResult,
    num_orders: int,
    rng: np.random.Generator,
    scores: Array | None = None,
) -> Search:
    """The end of a search with a single final labelling and no U from its own passes. `scores` are those of
    `Finalist`."""
    finalist = Finalist((name,), labels, scores=scores)
    return Result((yield from weigh(problem, [finalist], num_orders, rng)), zero_shot)


def mean_and_error(values: Sequence[float] | Array) -> tuple[float, float]:
    """The mean, NaN of no value, and its standard error, 0 of a single value."""
    if not len(values):
        return float("nan"), 0.0
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return float(np.mean(values)), error


def _mean(problem: Problem, passes: Sequence[PassResult]) -> Array:
    if not passes:
        return np.full((problem.num_examples, problem.num_labels), np.nan)
    mean: Array = np.mean([answer.logprobs for answer in passes], axis=0)
    return mean
