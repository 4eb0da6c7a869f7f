"""The published search: Algorithms 1 and 2 of Wen et al. 2025 (arXiv 2506.10139), one example at a time.

Where the authors' code differs from the paper, `OfficialSettings` names the difference. Contexts always keep the order
of the data, as in the authors' code; the final labels are also evaluated on fresh orders.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.search.base import (
    Finalist,
    Problem,
    Result,
    Round,
    Search,
    StopSearch,
    insisted,
    weigh,
    zero_shot_request,
)
from icm_annealer.search.kind import ExpectedPasses, Iterations, Preset, SearchKind

_Outcome = TypeVar("_Outcome")
PROPOSE = "propose"
"""The purpose of an iteration's first pass."""
_Steps = Generator[Round, list[PassResult], "_State"]


@dataclass(frozen=True)
class OfficialSettings:
    """The paper's constants, with options for the choices of the authors' code."""

    num_initial: int = 8
    """K: examples labelled at random at the start."""
    iterations_per_example: float = 2.5
    """Iterations, as a multiple of the number of examples."""
    t0: float = 10.0
    t_min: float = 0.01
    beta: float = 0.99
    """Cooling; the authors' code has 2."""
    schedule: Literal["iterations", "accepted"] = "iterations"
    """The meaning of n in T = max(t_min, t0 / (1 + beta * ln n)): iterations (paper), or accepted flips (code)."""
    max_repairs: int = 10
    """M of Algorithm 2."""
    pair_options: Literal["all", "two"] = "all"
    """Whether Algorithm 2 tries every consistent pair of labels (paper) or two of them (code)."""
    group_weight: float = 100.0
    """Sampling weight of an unlabelled example whose group has labelled members."""
    num_final_orders: int = 3


class _State(NamedTuple):
    labels: Ints
    u: float


def official(problem: Problem, settings: OfficialSettings, seed: int) -> Search:
    """Algorithm 1. Every proposal that changes a label costs a pass over all labelled examples.

    Known labels take the place of as many random ones at the start, and are never proposed to change.
    """
    rng, order_rng = np.random.default_rng(seed).spawn(2)
    (zero_shot,) = yield [zero_shot_request(problem)]
    labels = np.full(problem.num_examples, -1)
    num_random = max(0, settings.num_initial - int(problem.is_known.sum()))
    initial = rng.permutation(problem.num_examples)[:num_random]
    labels[initial] = rng.integers(problem.num_labels, size=len(initial))
    labels = problem.held(labels)
    state, num_accepted = _State(labels, math.nan), 0
    try:
        state = yield from _weighed(problem, labels)
        state = yield from _repair(problem, settings, state)
        num_iterations = 0 if problem.is_known.all() else _num_iterations(settings, problem.num_examples)
        for iteration in range(1, num_iterations + 1):
            n = iteration if settings.schedule == "iterations" else 1 + num_accepted
            temperature = max(settings.t_min, settings.t0 / (1 + settings.beta * math.log(n)))
            proposal = yield from _at(temperature, _propose(problem, settings, state, rng))
            if proposal is None:
                continue
            # The paper's temperature applies to alpha * P - I; U here is that divided by alpha.
            gain = (proposal.u - state.u) * problem.objective.alpha
            if gain > 0 or rng.random() < math.exp(max(gain / temperature, -700.0)):
                state, num_accepted = proposal, num_accepted + 1
    except StopSearch:
        pass
    final = state.labels.copy()
    never = final < 0
    num_labelled = int((~never).sum())
    if never.any():  # labelled like a proposal: argmax with all labelled examples as context
        remaining = replace(_pass(problem, final), queries=np.flatnonzero(never), purpose="remaining")
        (answer,) = yield from insisted([remaining])
        final[never] = answer.logprobs.argmax(axis=1)
    is_weighed = not math.isnan(state.u)
    u_own = problem.objective.of_all(state.u, num_labelled / problem.num_examples) if is_weighed else None
    candidates = yield from weigh(
        problem, [Finalist(("official",), final, u_own)], settings.num_final_orders, order_rng
    )
    notes: dict[str, float] = {"num_accepted": num_accepted, "num_labelled": num_labelled}
    return Result(candidates, zero_shot, notes=notes)


def _at(
    temperature: float, steps: Generator[Round, list[PassResult], _Outcome]
) -> Generator[Round, list[PassResult], _Outcome]:
    """Runs `steps`, adding the current temperature to their requests."""
    answers: list[PassResult] | None = None
    while True:
        try:
            requests = next(steps) if answers is None else steps.send(answers)
        except StopIteration as stop:
            outcome: _Outcome = stop.value
            return outcome
        answers = yield [replace(request, temperature=temperature) for request in requests]


def _propose(
    problem: Problem, settings: OfficialSettings, state: _State, rng: np.random.Generator
) -> Generator[Round, list[PassResult], _State | None]:
    """Draws an example, labels it by argmax with all others as context, and repairs; None if no label changes."""
    example = _draw(problem, settings, state.labels, rng)
    without = state.labels.copy()
    without[example] = -1
    (answer,) = yield [replace(_pass(problem, without), queries=np.array([example]), purpose=PROPOSE)]
    labels = without.copy()  # the request must not change
    labels[example] = int(answer.logprobs[0].argmax())
    if labels[example] == state.labels[example]:
        return None
    proposal = yield from _weighed(problem, labels)
    proposal = yield from _repair(problem, settings, proposal)
    return proposal


def _draw(problem: Problem, settings: OfficialSettings, labels: Ints, rng: np.random.Generator) -> int:
    weights = np.ones(problem.num_examples)
    for group in problem.consistency.groups:
        labelled = labels[group] >= 0
        if labelled.any() and not labelled.all():
            weights[group[~labelled]] = settings.group_weight
    weights[problem.is_known] = 0
    return int(rng.choice(problem.num_examples, p=weights / weights.sum()))


def _repair(problem: Problem, settings: OfficialSettings, state: _State) -> _Steps:
    """Algorithm 2: relabels contradicting pairs while that raises U."""
    visited: set[tuple[int, int]] = set()
    for _ in range(settings.max_repairs):
        pair = _contradiction(problem, state.labels, visited)
        if pair is None:
            break
        visited.add(pair)
        best = state
        options = _consistent_pairs(problem, state.labels, pair)
        for option in options if settings.pair_options == "all" else options[:2]:
            labels = state.labels.copy()
            labels[list(pair)] = option
            tried = yield from _weighed(problem, labels)
            best = tried if tried.u > best.u else best
        if best is not state:
            state = best
            visited.clear()
    return state


def _contradiction(problem: Problem, labels: Ints, visited: set[tuple[int, int]]) -> tuple[int, int] | None:
    """The first pair, in data order, that is contradictory by itself and was not tried since the last change."""
    for group in problem.consistency.groups:
        known = [int(i) for i in group if labels[i] >= 0]
        for k, first in enumerate(known):
            for second in known[k + 1 :]:
                if (first, second) not in visited and _contradicts(problem, labels, (first, second)):
                    return first, second
    return None


def _contradicts(problem: Problem, labels: Ints, pair: tuple[int, int]) -> bool:
    alone = np.full(problem.num_examples, -1)
    alone[list(pair)] = labels[list(pair)]
    return problem.consistency.num_contradictions(alone) > 0


def _consistent_pairs(problem: Problem, labels: Ints, pair: tuple[int, int]) -> list[list[int]]:
    options = []
    for a in range(problem.num_labels):
        for b in range(problem.num_labels):
            tried = labels.copy()
            tried[list(pair)] = [a, b]
            is_allowed = (problem.held(tried) == tried).all()
            if is_allowed and not _contradicts(problem, tried, pair):
                options.append([a, b])
    return options


def _weighed(problem: Problem, labels: Ints) -> _Steps:
    request = _pass(problem, labels)
    (answer,) = yield [request]
    known = labels[request.queries]
    u = problem.objective.u(answer.logprobs, known, problem.consistency.num_contradictions(labels))
    return _State(labels, u)


def _pass(problem: Problem, labels: Ints) -> PassRequest:
    """A pass over all labelled examples, in data order."""
    order = np.arange(len(problem.units))
    return PassRequest(labels, np.flatnonzero(labels >= 0), order, problem.plan, "official")


def _num_iterations(settings: OfficialSettings, num_examples: int) -> int:
    return math.ceil(settings.iterations_per_example * num_examples)


def _limited(settings: OfficialSettings, num_examples: int, num_iterations: int) -> OfficialSettings:
    # Subtracting half an iteration makes the rounding up exact.
    return replace(settings, iterations_per_example=(num_iterations - 0.5) / num_examples)


def _expected_shots(settings: OfficialSettings, num_examples: int) -> float:
    pass_by_tree = num_examples * math.log2(max(num_examples, 2))
    return _num_iterations(settings, num_examples) * (0.3 * num_examples + 0.4 * pass_by_tree)


OFFICIAL = SearchKind(
    "official",
    "the paper's (Wen et al. 2025)",
    OfficialSettings,
    official,
    plan="fixed",
    measure="margin",
    expected_passes=lambda settings, num: ExpectedPasses(_num_iterations(settings, num), PROPOSE),
    expected_shots=_expected_shots,
    can_stop=True,
    iterations=Iterations(_num_iterations, _limited),
    # Plan `tree` has contexts with the same shots as `fixed`, in another order, at a much lower cost.
    presets=(Preset("official", OfficialSettings(num_final_orders=0), "tree", "full"),),
)
