"""What every search keeps to where labels are known or label rates are given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.task import Task
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.registry import rule_of
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Result
from icm_annealer.search.problem import problem_of
from icm_annealer.searches.blocks import BlockSettings
from icm_annealer.searches.bootstrap import BootstrapSettings
from icm_annealer.searches.joint import JointSettings
from icm_annealer.searches.registry import BUILT_IN, presets_of
from icm_annealer.searches.settings import Settings
from icm_client import RequestError

VARIANTS = [
    pytest.param(kind.name, options, id=f"{kind.name}-{number}")
    for kind in BUILT_IN.values()
    for number, options in enumerate(dict.fromkeys([kind.options(), *(each.options for each in presets_of(kind))]))
]
RESPECTING = [kind.name for kind in BUILT_IN.values() if kind.respects_rates]
FEW_DRAWS = {
    "blocks": BlockSettings(max_passes=2, num_final_orders=1),
    "bootstrap": BootstrapSettings(num_rounds=2),
    "joint": JointSettings(num_draws=2, num_rounds=2),
}


def problem(num: int, num_labels: int, known: Ints, *rules: dict[str, Any], group_size: int = 1) -> Problem:
    groups = list(np.arange(num).reshape(-1, group_size))
    names = [f"label {number}" for number in range(num_labels)]
    judge = Consistency([rule_of(rule) for rule in rules], groups, [{}] * num, names)
    return Problem(num, num_labels, groups, judge, Objective(), PlanKind("tree"), known)


def drive(posed: Problem, run: Settings, logprobs: Array) -> tuple[list[PassRequest], Result]:
    """The whole search, answered with noise around `logprobs` [example, label]."""
    rng = np.random.default_rng(0)
    search, asked = run.start(posed), []
    requests = next(search)
    while True:
        asked += requests
        sizes = [(len(request.queries), posed.num_labels) for request in requests]
        answers = [
            PassResult(logprobs[request.queries] - rng.exponential(size=size))
            for request, size in zip(requests, sizes, strict=True)
        ]
        try:
            requests = search.send(answers)
        except StopIteration as stop:
            return asked, stop.value


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    num_labels=st.integers(2, 4),
    share=st.sampled_from([0.1, 0.3, 0.7, 1.0]),
    is_paired=st.booleans(),
)
def test_known_labels_stay_and_come_first_in_contexts(
    name: str, options: Any, seed: int, num_labels: int, share: float, is_paired: bool
) -> None:
    rng = np.random.default_rng(seed)
    known = rng.integers(num_labels, size=12)
    rules = [{"kind": "same_key", "key": "k"}] if is_paired else []
    known[1::2] = known[::2]  # which no rule forbids
    known[rng.random(12) > share] = -1
    facts_free = problem(12, num_labels, known, group_size=2 if is_paired else 1)
    posed = facts_free if not rules else replace(facts_free, consistency=_same(12, num_labels))
    logprobs = -rng.exponential(2.0, size=(12, num_labels))
    asked, result = drive(posed, Settings(search=name, options=options, seed=seed), logprobs)
    is_known = known >= 0
    for candidate in result.candidates:
        assert (candidate.labels[is_known] == known[is_known]).all()
    for request in asked:
        shown = request.labels[is_known]
        # A known label is shown as it is, or not at all,
        assert ((shown == known[is_known]) | (shown == -1)).all()
        # and is left out only of contexts without other labels, or with all queries, which then are in no context.
        others_shown = (request.labels[~is_known] >= 0).any()
        queries_shown = (request.labels[request.queries] >= 0).any()
        left_out = np.flatnonzero(is_known & (request.labels < 0))
        assert not others_shown or not len(left_out) or not queries_shown
        assert not others_shown or set(left_out) <= set(request.queries)


def _same(num: int, num_labels: int) -> Consistency:
    names = [f"label {number}" for number in range(num_labels)]
    rule = rule_of({"kind": "same_key", "key": "k"})
    return Consistency([rule], list(np.arange(num).reshape(-1, 2)), [{"k": "same"}] * num, names)


@pytest.mark.parametrize("name", ["official", "gibbs"])
def test_known_examples_are_never_drawn(name: str) -> None:
    known = np.array([0, -1, 1, -1, -1, 0])
    asked, _ = drive(problem(6, 2, known), Settings(search=name), np.zeros((6, 2)))
    drawn = {int(request.queries[0]) for request in asked if request.purpose in ("gibbs", "propose")}
    assert drawn == {1, 3, 4}


def test_growing_begins_with_the_known_labels_and_as_many_of_the_surest() -> None:
    known = np.full(40, -1)
    known[:5] = 0
    asked, _ = drive(problem(40, 2, known), Settings(search="growing"), np.zeros((40, 2)))
    sizes = [int((request.labels >= 0).sum()) for request in asked if request.purpose == "growing"]
    assert sizes == [7, 9, 21]
    assert all((request.labels[:5] == 0).all() for request in asked if request.purpose == "growing")


def test_known_shots_asks_all_others_behind_all_known_ones() -> None:
    known = np.array([0, -1, 1, -1])
    logprobs = np.log(np.array([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]))
    asked, result = drive(problem(4, 2, known), Settings(search="known_shots"), logprobs * 9)
    behind = [request for request in asked if request.purpose == "known shots"]
    assert len(behind) == 2
    assert all(request.labels.tolist() == known.tolist() for request in behind)
    assert all(request.queries.tolist() == [1, 3] for request in behind)
    assert result.winner.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", RESPECTING)
@pytest.mark.parametrize(
    ("low", "high"),
    [([0.25, 0.75], [0.25, 0.75]), pytest.param([0.1, 0.2, 0.0], [0.1, 0.3, 1.0], marks=pytest.mark.slow)],
)
def test_labels_have_the_given_rates(name: str, low: Sequence[float], high: Sequence[float]) -> None:
    num = 60
    known = np.full(num, -1)
    known[:4] = [0, 0, 1, 1]
    posed = replace(problem(num, len(low), known), rates=LabelRates(np.array(low), np.array(high)))
    logprobs = -np.random.default_rng(1).exponential(3.0, size=(num, len(low)))
    _, result = drive(posed, Settings(search=name, options=FEW_DRAWS.get(name)), logprobs)
    shares = np.bincount(result.winner.labels, minlength=len(low)) / num
    near = 3 / num  # to the nearest example, but for scores that are almost equal
    assert (shares >= np.array(low) - near).all(), shares
    assert (shares <= np.array(high) + near).all(), shares


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - set(RESPECTING)))
def test_a_search_that_cannot_respect_rates_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="cannot respect label rates; these can: blocks, zero_shot, growing, joint"):
        Settings(search=name).check_given(has_rates=True, has_known=False, has_start=False)
    Settings(search=name).check_given(has_rates=False, has_known=False, has_start=False)


def test_what_a_search_needs_or_has_no_use_for_is_an_error() -> None:
    with pytest.raises(RequestError, match="needs known labels"):
        Settings(search="known_shots").check_given(has_rates=False, has_known=False, has_start=False)
    with pytest.raises(RequestError, match="cannot start from labels; of the built-in ones blocks can"):
        Settings(search="joint").check_given(has_rates=False, has_known=False, has_start=True)


PAIRS = Task(
    name="pairs",
    template="{text}",
    labels={"yes": " yes", "no": " no"},
    group="pair",
    rules=[{"kind": "exactly_one", "label": "yes"}],  # type: ignore[list-item]
)


@pytest.mark.parametrize("known", [{"0": "yes", "1": "yes"}, {"0": "no", "1": "no", "2": "no"}])
def test_known_labels_that_contradict_each_other_are_named(known: dict[str, str]) -> None:
    examples = [Example(str(k), f"text {k}", str(k // 3), {"text": "", "pair": k // 3}) for k in range(6)]
    objective, plan = Objective(), PlanKind("tree")
    ids = ", ".join(f"'{name}'" for name in known)
    with pytest.raises(RequestError, match=f"the known labels of {ids} contradict each other"):
        problem_of(PAIRS, examples, objective, plan, GivenLabels(known))


def test_labels_that_follow_from_known_ones_are_known() -> None:
    examples = [Example(str(k), f"text {k}", str(k // 3), {"text": "", "pair": k // 3}) for k in range(12)]
    given = GivenLabels({"0": "yes", "3": "no", "6": "no", "7": "no", "99": "no"}, {"1": "no"})
    posed = problem_of(PAIRS, examples, Objective(), PlanKind("tree"), given)
    assert posed.known is not None
    # yes leaves the others no choice, one no leaves two of them one, two leave one none; the last group is free.
    assert posed.known.tolist() == [0, 1, 1, 1, -1, -1, 1, 1, 0, -1, -1, -1]
    assert posed.start is not None
    assert posed.start.tolist() == [-1, 1, *[-1] * 10]


def test_nothing_given_is_nothing() -> None:
    examples = [Example(str(k), f"text {k}", "all", {"text": "", "pair": 1}) for k in range(3)]
    posed = problem_of(PAIRS, examples, Objective(), PlanKind("tree"), GivenLabels({"7": "yes"}))
    assert posed.known is posed.rates is posed.start is None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["at_most_one", "exactly_one", "mirrored", "same_key"]),
    num_known=st.integers(1, 4),
)
def test_what_follows_is_what_all_allowed_labels_have_in_common(seed: int, kind: str, num_known: int) -> None:
    rng = np.random.default_rng(seed)
    rule: dict[str, Any] = {"kind": kind}
    rule |= {"same_key": {"key": "k"}, "mirrored": {}}.get(kind, {"label": "yes"})
    size = 2 if kind == "mirrored" else 4
    task = PAIRS.model_copy(update={"rules": [rule_of(rule)]})
    examples = [Example(str(k), "", "g", {"k": str(rng.integers(2))}) for k in range(size)]
    judge = problem_of(task, examples, Objective(), PlanKind("tree")).consistency
    every = itertools.product(range(2), repeat=size)
    allowed = [labels for labels in every if not judge.num_contradictions(np.array(labels))]
    true = allowed[rng.integers(len(allowed))]
    shown = rng.permutation(size)[: min(num_known, size)]
    known = {str(k): task.label_names[true[k]] for k in shown}
    left = np.array([labels for labels in allowed if all(labels[k] == true[k] for k in shown)])
    common = np.where((left == left[0]).all(axis=0), left[0], -1)
    posed = problem_of(task, examples, Objective(), PlanKind("tree"), GivenLabels(known))
    assert posed.known is not None
    assert posed.known.tolist() == common.tolist()
