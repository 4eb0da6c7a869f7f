"""The passes that U is computed from: which shots they show, behind which each example is scored, and whose U it is."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.annealer.scoring.test_passes import Counting

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult, PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import MOST_SHOTS, TWO_FOLDS, Finalist, Problem, Result, Search, weigh
from icm_annealer.search.driver import drive
from icm_annealer.search.shots import MIN_EVEN_SHOTS

TASK = Task(name="letters", template="{a}", labels={"x": " x", "y": " y", "z": " z"})


def problem(num: int, known: Ints | None = None, plan: PlanKind = TWO_FOLDS, size: int = 1) -> Problem:
    """`num` units of `size` examples, with three labels."""
    units = np.split(np.arange(num * size), num)
    judge = Consistency([], units, [{}] * (num * size), TASK.label_names)
    return Problem(num * size, 3, units, judge, Objective(), plan, known)


def contexts(of: Problem, request: PassRequest) -> dict[int, set[int]]:
    """Example -> the shots that it is scored behind, as a scorer lays out the pass."""

    async def lay_out() -> dict[int, set[int]]:
        scorer = Counting()
        examples = [Example(str(k), f"Word: w{k}\nKind:", None, {}) for k in range(of.num_examples)]
        passes = await PassScorer.open(scorer, TASK, examples, list(of.units), await scorer.model())
        plan = passes.plan(request)
        return {example: set(shots) for (_, example), shots in zip(plan.reads, plan.contexts(), strict=True)}

    return asyncio.run(lay_out())


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), st.integers(1, 2), st.integers(0, 2**32))
def test_contexts_of_u_are_the_other_half_with_no_label_far_commoner_than_the_rarest(
    num: int, size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, num * size, p=[0.7, 0.2, 0.1])
    of, order = problem(num, size=size), rng.permutation(num)
    request = of.request(labels, order, "finalists")
    half_of, found = of.contexts(order), contexts(of, request)
    assert half_of is not None
    assert sorted(found) == list(range(num * size))
    for example, context in found.items():
        other = set(np.flatnonzero(half_of != half_of[example]).tolist())
        hidden = other & set(request.hidden)
        # The last shots may be trimmed so that the context ends on a block of the cache.
        assert other - hidden >= context
        assert len(other - hidden) - len(context) <= 3
        counts = np.bincount(labels[sorted(other)], minlength=3)
        shown = np.bincount(labels[sorted(other - hidden)], minlength=3)
        assert shown.tolist() == np.minimum(counts, max(MOST_SHOTS * counts.min(), MIN_EVEN_SHOTS)).tolist()


def test_known_labels_are_shown_first_and_then_the_first_of_the_order() -> None:
    labels = np.array([0] * 16 + [1] * 4 + [2] * 4)
    half = [*range(8), 16, 17, 20, 21]
    order = np.array([*half, *(k for k in range(24) if k not in half)])
    known = np.where(np.isin(np.arange(24), [5, 7, 15]), 0, -1)
    hidden = problem(24, known).request(labels, order, "finalists").hidden
    assert sorted(hidden) == [2, 3, 4, 6, 11, 12, 13, 14]  # 4 of label 0 stay in each half
    assert sorted(problem(24).request(labels, order, "finalists").hidden) == [4, 5, 6, 7, 12, 13, 14, 15]


def test_even_labels_hide_nothing() -> None:
    request = problem(30).request(np.arange(30) % 3, np.arange(30), "finalists")
    assert request.hidden == ()


def answer_of(request: PassRequest) -> Array:
    """Labels that are likely, and a bias that differs by where in the order an example stands."""
    place = np.argsort(request.order)[request.queries]
    biased = np.outer(place >= len(request.order) // 2, [0.0, 2.0, 0.0])
    sure: Array = 1.5 * np.eye(3)[request.labels[request.queries]] + biased
    return sure - np.log(np.exp(sure).sum(axis=1, keepdims=True))


class Answers:
    """A scorer of passes."""

    async def score(self, request: PassRequest) -> PassResult:
        return PassResult(answer_of(request))


@pytest.mark.parametrize("plan", ["folds=2", "tree"])
async def test_a_pass_over_all_examples_reports_the_u_of_its_candidate(plan: str) -> None:
    of, rng = problem(40, plan=PlanKind.parse(plan)), np.random.default_rng(0)
    labels = rng.choice(3, 40, p=[0.6, 0.2, 0.2])
    events: list[PassEvent] = []

    def search() -> Search:
        return Result((yield from weigh(of, [Finalist(("one",), labels)], 3, rng)), None)

    outcome = await drive(search(), of, Answers(), on_pass=events.append)
    assert [event.u for event in events] == outcome.result.winner.us
    assert [event.predictability for event in events] == outcome.result.winner.us  # there is no contradiction
    biased = [Objective().u(event.answer.logprobs, labels, 0) for event in events]
    assert (max(abs(np.subtract(biased, outcome.result.winner.us))) > 0.01) == (plan == "folds=2")


async def test_a_pass_by_another_plan_or_over_some_examples_has_one_context() -> None:
    of, order = problem(40), np.random.default_rng(1).permutation(40)
    labels, half = np.arange(40) % 3, np.sort(order[20:])
    for request in (
        PassRequest(labels, half, order, TWO_FOLDS),
        PassRequest(labels, np.arange(40), order, PlanKind("tree")),
    ):
        assert of.contexts_of(request) is None
    reverse = PassRequest(labels, np.arange(40)[::-1], order, TWO_FOLDS)
    by_query, by_example = of.contexts_of(reverse), of.contexts(order)
    assert by_query is not None
    assert by_example is not None
    assert by_query.tolist() == by_example[::-1].tolist()
