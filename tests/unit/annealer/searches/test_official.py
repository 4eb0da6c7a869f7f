"""The published search, step by step, behind made answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from icm_annealer.core.objective import Objective
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.registry import rule_of
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Result
from icm_annealer.searches.official import OfficialSettings, official

Ints = npt.NDArray[np.int64]
Answer = Callable[[PassRequest], npt.NDArray[np.float64]]
MIRRORED = {"kind": "mirrored"}
ONE_TRUE = {"kind": "different_keys", "key": "row", "label": "True"}
HOT, COLD = 1e12, 1e-12


def problem(num: int, group_size: int = 1, *rules: dict[str, Any], alpha: float = 50.0) -> Problem:
    groups = list(np.arange(num).reshape(-1, group_size))
    rows = [{"row": row} for row in range(num)]
    parsed = [rule_of(rule) for rule in rules]
    judge = Consistency(parsed, groups, rows, ["True", "False"])
    units = [np.array([row]) for row in range(num)]
    return Problem(num, 2, units, judge, Objective("margin", alpha), PlanKind("tree"))


class Outcome(NamedTuple):
    requests: list[PassRequest]
    result: Result

    def of(self, purpose: str) -> list[PassRequest]:
        return [request for request in self.requests if request.purpose == purpose]


def drive(given: Problem, settings: OfficialSettings, answer: Answer, seed: int = 0) -> Outcome:
    """The whole search, with the results of `answer` to its requests."""
    search, requests = official(given, settings, seed), list[PassRequest]()
    asked = next(search)
    while True:
        requests += asked
        try:
            asked = search.send([PassResult(answer(request)) for request in asked])
        except StopIteration as stop:
            return Outcome(requests, stop.value)


def indifferent(request: PassRequest) -> npt.NDArray[np.float64]:
    return np.full((len(request.queries), 2), np.log(0.5))


def prefers(label: int, by: float = 2.0) -> Answer:
    """Every example, in every context, is more likely to be `label`."""
    return lambda request: np.tile(np.where(np.arange(2) == label, 0.0, -by), (len(request.queries), 1))


def only_initial(num: int, **changes: Any) -> OfficialSettings:
    """Random labels for all, repaired; no proposals."""
    return OfficialSettings(num_initial=num, iterations_per_example=0.0, **changes)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", [MIRRORED, ONE_TRUE], ids=["mirrored", "one true"])
def test_contradictions_are_repaired(rule: dict[str, Any], seed: int) -> None:
    given = problem(16, 2, rule)
    outcome = drive(given, only_initial(16), indifferent, seed)
    assert given.consistency.num_contradictions(outcome.of("official")[0].labels) > 0
    assert given.consistency.num_contradictions(outcome.result.winner.labels) == 0


def test_repairs_are_limited() -> None:
    given = problem(80, 2, MIRRORED)
    outcome = drive(given, only_initial(80, max_repairs=3), indifferent)
    before = given.consistency.num_contradictions(outcome.of("official")[0].labels)
    assert given.consistency.num_contradictions(outcome.result.winner.labels) == before - 3


def test_a_repair_takes_the_labels_with_the_highest_u() -> None:
    """Of (True, False), (False, True) and (False, False) the model likes the last best."""
    given = problem(16, 2, ONE_TRUE)
    outcome = drive(given, only_initial(16), prefers(1))
    first = outcome.of("official")[0].labels.reshape(-1, 2)
    final = outcome.result.winner.labels.reshape(-1, 2)
    contradicting = (first == 0).all(axis=1)
    assert contradicting.any()
    assert (final[contradicting] == 1).all()
    assert (final[~contradicting] == first[~contradicting]).all()


def test_a_repair_that_lowers_u_is_not_made() -> None:
    given = problem(16, 2, MIRRORED, alpha=1e6)  # contradictions weigh next to nothing
    outcome = drive(given, only_initial(16), lambda request: _fit(request, np.zeros(16, dtype=np.int64)))
    first = outcome.of("official")[0].labels
    pairs = first.reshape(-1, 2)
    both_true = (pairs == 0).all(axis=1)
    assert both_true.any()
    assert (outcome.result.winner.labels.reshape(-1, 2)[both_true] == 0).all()


def _fit(request: PassRequest, target: Ints) -> npt.NDArray[np.float64]:
    return np.where(np.arange(2) == target[request.queries][:, None], 0.0, -2.0)


@pytest.mark.parametrize(("pair_options", "num_tried"), [("all", 3), ("two", 2)])
def test_a_repair_tries_the_options_named(pair_options: str, num_tried: int) -> None:
    given = problem(2, 2, ONE_TRUE)
    for seed in range(20):
        outcome = drive(given, only_initial(2, pair_options=pair_options), indifferent, seed)
        if (outcome.of("official")[0].labels == 0).all():
            assert len(outcome.of("official")) == 1 + num_tried
            return
    pytest.fail("no start had both claims true")


@pytest.mark.parametrize("seed", range(3))
def test_cold_searches_accept_only_what_raises_u(seed: int) -> None:
    """Proposals go to False everywhere, but U likes True: nothing may be accepted."""

    def answer(request: PassRequest) -> npt.NDArray[np.float64]:
        return prefers(1 if request.purpose == "propose" else 0)(request)

    settings = OfficialSettings(num_initial=8, iterations_per_example=3.0, t0=COLD, t_min=COLD)
    outcome = drive(problem(8), settings, answer, seed)
    assert outcome.of("propose")
    assert outcome.result.notes["num_accepted"] == 0
    assert outcome.result.winner.labels.tolist() == outcome.of("official")[0].labels.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_hot_searches_accept_whatever_changes(seed: int) -> None:
    def answer(request: PassRequest) -> npt.NDArray[np.float64]:
        return prefers(1 if request.purpose == "propose" else 0)(request)

    settings = OfficialSettings(num_initial=8, iterations_per_example=10.0, t0=HOT, t_min=HOT)
    outcome = drive(problem(8), settings, answer, seed)
    assert outcome.result.winner.labels.tolist() == [1] * 8
    assert outcome.result.notes["num_accepted"] == len(outcome.of("official")) - 1


def test_a_cold_search_climbs_to_the_labels_that_u_likes() -> None:
    target = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    settings = OfficialSettings(num_initial=4, iterations_per_example=10.0, t0=COLD, t_min=COLD)
    outcome = drive(problem(8), settings, lambda request: _fit(request, target))
    assert outcome.result.winner.labels.tolist() == target.tolist()


def test_acceptance_is_by_the_annealing_rule() -> None:
    """A proposal whose alpha * dU is -1 is accepted at T = 1 with probability exp(-1)."""
    num, accepted = 400, 0
    for seed in range(num):
        # One example, labelled True or False at the start; U falls by 0.02 = 1 / alpha when it is flipped.
        start: list[int] = []

        def answer(request: PassRequest, start: list[int] = start) -> npt.NDArray[np.float64]:
            if request.purpose == "official" and not start:
                start.append(int(request.labels[0]))
            if request.purpose == "propose":
                return prefers(1 - start[0])(request)
            if start and int(request.labels[0]) != start[0]:
                return np.where(np.arange(2) == 1 - start[0], 0.0, 0.02)[None, :] - 1.0
            return np.full((1, 2), -1.0)

        settings = OfficialSettings(num_initial=1, iterations_per_example=1.0, t0=1.0, t_min=1.0, num_final_orders=1)
        accepted += int(drive(problem(1), settings, answer, seed).result.notes["num_accepted"])
    assert 0.28 < accepted / num < 0.46


def test_no_pass_is_asked_when_a_label_does_not_change() -> None:
    settings = OfficialSettings(num_initial=4, iterations_per_example=8.0, t0=HOT, t_min=HOT)
    outcome = drive(problem(8), settings, prefers(1))
    labels = outcome.of("official")[0].labels
    steps = [request for request in outcome.requests if request.purpose in ("propose", "official")][1:]
    num_unchanged = 0
    for request, following in zip(steps, [*steps[1:], None], strict=True):
        if request.purpose == "official":
            labels = request.labels  # hot: every proposal is accepted
            continue
        (example,) = request.queries.tolist()
        if labels[example] == 1:
            num_unchanged += 1
            assert following is None or following.purpose == "propose"
        else:
            assert following is not None
            assert following.purpose == "official"
            assert following.labels[example] == 1
    assert num_unchanged > 10


def test_an_example_is_proposed_behind_all_that_is_labelled_but_itself() -> None:
    settings = OfficialSettings(num_initial=6, iterations_per_example=4.0, t0=HOT, t_min=HOT)
    outcome = drive(problem(8), settings, prefers(1))
    labels = outcome.of("official")[0].labels
    for request in outcome.requests[2:]:
        if request.purpose == "official":
            labels = request.labels
        elif request.purpose == "propose":
            (example,) = request.queries.tolist()
            expected = labels.copy()
            expected[example] = -1
            assert request.labels.tolist() == expected.tolist()


def test_members_of_a_group_under_way_are_drawn_first() -> None:
    settings = OfficialSettings(num_initial=1, iterations_per_example=3 / 20, group_weight=1e12, t0=HOT, t_min=HOT)
    given = problem(20, 4, {"kind": "same_key", "key": "none"})
    outcome = drive(given, settings, prefers(1))
    (first,) = np.flatnonzero(outcome.of("official")[0].labels >= 0).tolist()
    drawn = sorted(int(request.queries[0]) for request in outcome.of("propose"))
    assert sorted([first, *drawn]) == list(range(first // 4 * 4, first // 4 * 4 + 4))


def test_what_was_never_drawn_is_labelled_at_the_end() -> None:
    settings = OfficialSettings(num_initial=2, iterations_per_example=0.0)
    outcome = drive(problem(8), settings, prefers(1))
    (remaining,) = outcome.of("remaining")
    initial = outcome.of("official")[0].labels
    assert remaining.queries.tolist() == np.flatnonzero(initial < 0).tolist()
    expected = np.where(initial < 0, 1, initial)
    assert outcome.result.winner.labels.tolist() == expected.tolist()


def test_contexts_keep_the_datas_order_and_finals_are_weighed_on_fresh_ones() -> None:
    outcome = drive(problem(12), OfficialSettings(), prefers(1))
    for request in outcome.requests:
        assert (request.order.tolist() == list(range(12))) == (request.purpose != "finalists")
    assert len(outcome.of("finalists")) == 3


def test_the_same_seed_asks_the_same() -> None:
    def asked(seed: int) -> list[Any]:
        outcome = drive(problem(12, 2, MIRRORED), OfficialSettings(), prefers(1), seed)
        return [
            (request.purpose, request.labels.tolist(), request.queries.tolist(), request.order.tolist())
            for request in outcome.requests
        ]

    assert asked(1) == asked(1) != asked(2)


def test_extreme_losses_do_not_overflow() -> None:
    def answer(request: PassRequest) -> npt.NDArray[np.float64]:
        return prefers(1 if request.purpose == "propose" else 0, by=1e6)(request)

    settings = OfficialSettings(t0=COLD, t_min=COLD)
    assert np.isfinite(drive(problem(8), settings, answer).result.winner.u)
