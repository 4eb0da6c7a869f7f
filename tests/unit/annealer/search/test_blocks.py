"""The block search on answers made for it: what it asks, when its chains end, what it takes for one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import Measure, Objective
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Candidate, Problem, Result
from icm_annealer.search.blocks import BlockSettings, blocks, likelier_names

NUM = 40
GOLD = np.arange(NUM) % 2
Answer = Callable[[PassRequest], Array]


def problem(group_size: int = 1, objective: Objective = Objective()) -> Problem:  # noqa: B008  (frozen)
    return grouped([group_size] * (NUM // group_size), objective)


def grouped(sizes: Sequence[int], objective: Objective = Objective()) -> Problem:  # noqa: B008
    """Groups of these sizes; every example is a unit."""
    num = sum(sizes)
    groups = np.split(np.arange(num), np.cumsum(sizes)[:-1])
    judge = Consistency([], groups, [{}] * num, ["a", "b"])
    return Problem(num, 2, [np.array([k]) for k in range(num)], judge, objective, PlanKind.parse("folds=2"))


def searched(
    to_search: Problem,
    answer: Answer,
    settings: BlockSettings | None = None,
    seed: int = 1,
    start: Ints | None = None,
) -> tuple[Result, list[PassRequest]]:
    """The search's result when every ask is answered by `answer`, and all asks."""
    search = blocks(replace(to_search, start=start), settings or BlockSettings(), seed)
    requests, told = next(search), []
    while True:
        told += requests
        try:
            requests = search.send([PassResult(answer(request)) for request in requests])
        except StopIteration as stop:
            return stop.value, told


def confident(labels: Ints) -> Array:
    """Nine to one for these labels."""
    return np.log(np.where(np.arange(2) == labels[:, None], 0.9, 0.1))


def chain_asks(requests: list[PassRequest], number: int) -> list[PassRequest]:
    return [request for request in requests if request.purpose == f"chain {number}"]


@pytest.mark.parametrize("group_size", [1, 4])
def test_two_passes_reach_every_group_once_and_whole(group_size: int) -> None:
    _, requests = searched(problem(group_size), lambda request: confident(GOLD[request.queries]))
    for number in (1, 2, 3):
        mine = chain_asks(requests, number)
        for first, second in zip(mine[::2], mine[1::2], strict=False):
            assert sorted([*first.queries, *second.queries]) == list(range(NUM))
        for request in mine:
            middle = set(request.order[: NUM // 2].tolist())  # units are single examples here
            assert not middle & set(request.queries.tolist())
            assert {int(i) // group_size for i in request.queries} & {int(i) // group_size for i in middle} == set()


@given(st.lists(st.integers(1, 30), min_size=2, max_size=12), st.integers(0, 5))
def test_two_passes_reach_all_and_nobody_behind_its_own_group_whatever_the_groups_sizes(
    sizes: list[int], seed: int
) -> None:
    num = sum(sizes)
    group_of, gold = np.repeat(np.arange(len(sizes)), sizes), np.arange(num) % 2
    result, requests = searched(grouped(sizes), lambda request: confident(gold[request.queries]), seed=seed)
    for number in (1, 2, 3):
        mine = chain_asks(requests, number)
        for first, second in zip(mine[::2], mine[1::2], strict=False):
            assert sorted([*first.queries, *second.queries]) == list(range(num))
        for request in mine:
            shown = [int(i) for i in request.order if request.labels[i] >= 0]
            context = shown[: len(shown) // 2] if set(request.queries) <= set(shown) else shown
            assert context
            assert not set(group_of[context]) & set(group_of[request.queries])
    assert result.winner.labels.tolist() == gold.tolist()


@pytest.mark.parametrize("measure", ["sum", "logprob"])
def test_u_of_half_of_the_examples_is_comparable_with_u_of_all(measure: Measure) -> None:
    result, _ = searched(problem(objective=Objective(measure)), lambda request: confident(GOLD[request.queries]))
    assert result.winner.u_own == pytest.approx(result.winner.u)
    assert result.u_start == pytest.approx(result.winner.u)


def test_orders_are_never_met_twice() -> None:
    _, requests = searched(problem(), lambda request: confident(GOLD[request.queries]))
    orders = [tuple(request.order) for request in requests if request.purpose.startswith("chain")]
    assert len(set(orders)) == len(orders)


def test_chains_that_agree_are_one_answer_and_settle_early() -> None:
    result, requests = searched(problem(), lambda request: confident(GOLD[request.queries]))
    assert result.winner.labels.tolist() == GOLD.tolist()
    assert sorted(result.winner.starts) == ["random", "random", "zero-shot"]
    assert len(result.candidates) == 1
    assert sum(request.purpose == "finalists" for request in requests) == 3
    assert len(chain_asks(requests, 1)) < len(chain_asks(requests, 2)) < BlockSettings().max_passes
    assert result.num_oscillating == 0


def test_only_random_chains_are_heated_and_they_cool_to_nothing() -> None:
    _, requests = searched(problem(), lambda request: confident(GOLD[request.queries]))
    assert {request.temperature for request in chain_asks(requests, 1)} == {0.0}
    first, *temperatures = [request.temperature for request in chain_asks(requests, 2)]
    assert first is None  # it is taken from what the first pass says
    later = [t for t in temperatures if t is not None]
    assert later == sorted(later, reverse=True)
    assert later[0] > 0
    assert later[-1] == 0


def test_chains_that_go_back_and_forth_are_told() -> None:
    """Every example wants the other label than it has; without a memory, nothing stops that."""
    settings = BlockSettings(memory=0.0, max_passes=10, heat=0.0)
    result, requests = searched(problem(), lambda request: _contrary(request), settings)
    assert len(chain_asks(requests, 1)) == 10
    assert result.num_oscillating == 3


def _contrary(request: PassRequest) -> Array:
    labels = request.labels[request.queries]
    return confident(1 - labels) if (labels >= 0).all() else confident(GOLD[request.queries])


def test_an_example_that_no_pass_reached_keeps_its_label() -> None:
    settings = BlockSettings(num_chains=1, max_passes=1)
    result, requests = searched(problem(), _contrary, settings)
    (request,) = chain_asks(requests, 1)
    expected = GOLD.copy()
    expected[request.queries] = 1 - GOLD[request.queries]
    assert result.winner.labels.tolist() == expected.tolist()


def test_margins_and_probabilities_are_those_of_what_the_labels_were_chosen_by() -> None:
    """Not of the last passes alone, by which a label may be less likely than another."""
    logprobs = np.log([[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]])
    scores = np.log([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 0, 0])  # the last because of a rule
    found = Candidate(("zero-shot",), labels, 0.0, logprobs, [0.0], scores)
    assert found.margins == pytest.approx(np.log([0.8 / 0.2, 0.6 / 0.4, 0.3 / 0.7]))
    assert found.probs == pytest.approx(np.exp(scores))
    without = Candidate(("official",), labels, 0.0, logprobs - 1.0, [0.0])  # little mass on the labels altogether
    assert without.margins == pytest.approx(np.log([0.4 / 0.6, 0.9 / 0.1, 1.0]))
    assert without.probs == pytest.approx(np.exp(logprobs))


def test_a_search_tells_the_margins_of_all_that_was_said() -> None:
    result, _ = searched(problem(), lambda request: confident(GOLD[request.queries]))
    assert result.winner.labels.tolist() == GOLD.tolist()
    # A mean of what several passes said, less a little, where a half's labels are not even.
    assert result.winner.margins == pytest.approx(np.full(NUM, np.log(9)), abs=0.5)


def either_of(other: Ints, *, sureness: float) -> Answer:
    """Passes say GOLD or `other`, whichever their context is nearer to, and `other` so many times as surely; without
    context, GOLD is the likelier one."""

    def answer(request: PassRequest) -> Array:
        told = request.labels >= 0
        if not told.any():
            return 0.1 * confident(GOLD[request.queries])
        near_gold, near_other = ((request.labels == concept)[told].mean() for concept in (GOLD, other))
        return (
            confident(GOLD[request.queries]) if near_gold > near_other else sureness * confident(other[request.queries])
        )

    return answer


def both_found(answer: Answer) -> list[Result]:
    """Of 20 searches those that ended with two answers."""
    found = [searched(problem(), answer, BlockSettings(num_hot_passes=0), seed)[0] for seed in range(20)]
    two = [result for result in found if len(result.candidates) == 2]
    assert two
    return two


def test_of_a_concept_and_its_opposite_the_one_is_taken_that_the_label_words_mean() -> None:
    """Where U is the same for both; where it is not, U decides."""
    for result in both_found(either_of(1 - GOLD, sureness=1.0)):
        assert result.winner.labels.tolist() == GOLD.tolist()
    for result in both_found(either_of(1 - GOLD, sureness=2.0)):
        assert result.winner.u == max(candidate.u for candidate in result.candidates)


def test_an_answer_that_is_no_opposite_is_taken_by_u_alone() -> None:
    other = np.where(np.arange(NUM) < NUM * 0.4, 1 - GOLD, GOLD)
    found = [result.winner.labels.tolist() for result in both_found(either_of(other, sureness=1.0))]
    assert other.tolist() in found


def test_a_concept_is_called_by_what_the_label_words_mean_though_every_chain_ended_at_its_opposite() -> None:
    asked: list[PassRequest] = []
    for sureness, expected in ((1.0, GOLD), (2.0, 1 - GOLD)):  # where U tells the two apart, it decides
        result, asked = searched(problem(), either_of(1 - GOLD, sureness=sureness), start=1 - GOLD)
        assert all((labels == 1 - GOLD).mean() > 0.9 for labels in result.chains)
        assert result.winner.labels.tolist() == expected.tolist()
        assert sorted(len(candidate.starts) for candidate in result.candidates) == [3, 4]
        assert result.u_start is None
    assert len({tuple(request.order) for request in asked if request.purpose == "finalists"}) == 3  # common orders


@given(st.permutations(range(4)), st.integers(0, 99))
def test_labels_get_the_names_that_are_likelier_alone(names: list[int], seed: int) -> None:
    right = np.random.default_rng(seed).permutation(np.arange(40) % 4)
    alone = np.log(np.where(np.arange(4) == right[:, None], 0.4, 0.2))
    found, said = np.array(names)[right], np.eye(4)[np.array(names)[right]]
    renamed = said[:, likelier_names(found, alone)]
    assert renamed.argmax(axis=1).tolist() == right.tolist()
