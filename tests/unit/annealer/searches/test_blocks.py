"""Block search on answers made for it: its starts, its chains, its answers, and which of them it chooses."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import Measure, Objective, information
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import NUM_KEPT, AtRates, Candidate, Finalist, Problem, Result, weigh
from icm_annealer.search.shots import MIN_EVEN_SHOTS
from icm_annealer.searches.blocks import (
    EVEN,
    GROWING,
    RENAMED,
    UNEVEN,
    UNRELATED,
    ZERO_SHOT_ALONE,
    BlockSettings,
    _at_best_rates,
    _likelier_named,
    _likelier_of_equals,
    agreement_beyond_chance,
    blocks,
    likelier_names,
)

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
    """The search's result when every request is answered by `answer`, and all requests."""
    search = blocks(to_search if start is None else replace(to_search, start=start), settings or BlockSettings(), seed)
    return driven(search, answer)


def driven(
    search: Generator[list[PassRequest], list[PassResult], Any], answer: Answer
) -> tuple[Any, list[PassRequest]]:
    """The return value of a search, or of a part of one, and all its requests."""
    requests, asked = next(search), list[PassRequest]()
    while True:
        asked += requests
        try:
            requests = search.send([PassResult(answer(request)) for request in requests])
        except StopIteration as stop:
            return stop.value, asked


def confident(labels: Ints) -> Array:
    """Nine to one for these labels."""
    return np.log(np.where(np.arange(2) == labels[:, None], 0.9, 0.1))


def passes_of(requests: list[PassRequest], number: int) -> list[PassRequest]:
    return [request for request in requests if request.purpose == f"chain {number}"]


@pytest.mark.parametrize("group_size", [1, 4])
def test_two_passes_reach_every_group_once_and_whole(group_size: int) -> None:
    _, requests = searched(problem(group_size), lambda request: confident(GOLD[request.queries]))
    for number in (1, 2, 3):
        own = passes_of(requests, number)
        for first, second in zip(own[::2], own[1::2], strict=False):
            assert sorted([*first.queries, *second.queries]) == list(range(NUM))
        for request in own:
            middle = set(request.order[: NUM // 2].tolist())  # units are single examples here
            assert not middle & set(request.queries.tolist())
            assert {int(i) // group_size for i in request.queries} & {int(i) // group_size for i in middle} == set()


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=12), st.integers(0, 5))
def test_two_passes_reach_all_examples_whatever_the_group_sizes_and_never_behind_their_own_group(
    sizes: list[int], seed: int
) -> None:
    num = sum(sizes)
    group_of, gold = np.repeat(np.arange(len(sizes)), sizes), np.arange(num) % 2
    result, requests = searched(grouped(sizes), lambda request: confident(gold[request.queries]), seed=seed)
    for number in (1, 2, 3):
        own = passes_of(requests, number)
        for first, second in zip(own[::2], own[1::2], strict=False):
            assert sorted([*first.queries, *second.queries]) == list(range(num))
        for request in own:
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


def test_no_two_passes_of_chains_have_the_same_order() -> None:
    _, requests = searched(problem(), lambda request: confident(GOLD[request.queries]))
    orders = [tuple(request.order) for request in requests if request.purpose.startswith("chain")]
    assert len(set(orders)) == len(orders)


def test_chains_that_agree_are_one_answer_and_settle_early() -> None:
    result, requests = searched(problem(), lambda request: confident(GOLD[request.queries]))
    assert result.winner.labels.tolist() == GOLD.tolist()
    assert sorted(result.winner.starts) == ["growing", "random"]
    assert len(result.candidates) == 1
    assert sum(request.purpose == "finalists" for request in requests) == 3
    assert len(passes_of(requests, 1)) < len(passes_of(requests, 2)) < BlockSettings().max_passes
    assert result.num_oscillating == 0


def num_chains_of(requests: Sequence[PassRequest]) -> int:
    return len({request.purpose for request in requests if request.purpose.startswith("chain")})


def test_more_chains_run_only_if_the_first_disagree() -> None:
    _, agreeing = searched(problem(), lambda request: confident(GOLD[request.queries]))
    assert num_chains_of(agreeing) == BlockSettings().num_chains == 2
    for most in (2, 3, 4, 6):
        settings = BlockSettings(max_chains=most)
        result, asked = searched(problem(), either_of(1 - GOLD, sureness=1.0), settings, seed=0)
        assert (result.chains[0] == GOLD).all()
        assert (result.chains[1] == 1 - GOLD).all()
        # The further ones begin when the first have ended; answers with other names are no chains of these.
        assert len(result.chains) == num_chains_of(asked) == most
        numbers = [int(request.purpose.split()[1]) for request in asked if request.purpose.startswith("chain")]
        assert min(numbers[numbers.index(3) :], default=3) == 3 if most > 2 else max(numbers) == 2


def test_start_labels_start_every_chain() -> None:
    given = np.where(np.arange(NUM) < 30, 1 - GOLD, -1)
    settings = BlockSettings(num_chains=3)
    _, asked = searched(problem(), either_of(1 - GOLD, sureness=1.0), settings, start=given)
    assert not [request for request in asked if request.purpose == "growing"]
    for number in (1, 2, 3):
        first = passes_of(asked, number)[0]
        assert (first.labels[:30] == given[:30]).all()
        assert (first.labels[30:] == GOLD[30:]).all()  # the calibrated zero-shot labels
        assert first.temperature == (0.0 if number == 1 else None)  # the others are hot


def test_only_random_chains_are_heated_and_they_cool_to_nothing() -> None:
    _, requests = searched(problem(), lambda request: confident(GOLD[request.queries]))
    assert {request.temperature for request in passes_of(requests, 1)} == {0.0}
    first, *temperatures = [request.temperature for request in passes_of(requests, 2)]
    assert first is None  # it is taken from what the first pass says
    later = [t for t in temperatures if t is not None]
    assert later == sorted(later, reverse=True)
    assert later[0] > 0
    assert later[-1] == 0


def test_chains_that_alternate_are_counted() -> None:
    """Every example is likelier to have the other label than the one it has; without memory, nothing stops that."""
    settings = BlockSettings(memory=0.0, max_passes=10, heat=0.0, max_chains=2)
    result, requests = searched(problem(), _contrary, settings)
    assert len(passes_of(requests, 1)) == 10
    assert result.num_oscillating == 2


def _contrary(request: PassRequest) -> Array:
    labels = request.labels[request.queries]
    return confident(1 - labels) if (labels >= 0).all() else confident(GOLD[request.queries])


def test_an_example_that_no_pass_scored_keeps_its_label() -> None:
    settings = BlockSettings(num_chains=1, max_passes=1)
    result, requests = searched(problem(), _contrary, settings, start=GOLD)
    (request,) = passes_of(requests, 1)
    expected = GOLD.copy()
    expected[request.queries] = 1 - GOLD[request.queries]
    (found,) = result.chains
    assert found.tolist() == expected.tolist()


def test_margins_and_probabilities_are_those_of_the_scores_that_the_labels_were_chosen_by() -> None:
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


def test_margins_are_those_of_a_mean_over_passes() -> None:
    result, _ = searched(problem(), lambda request: confident(GOLD[request.queries]))
    assert result.winner.labels.tolist() == GOLD.tolist()
    # Less a little where the labels of a half are not even.
    assert result.winner.margins == pytest.approx(np.full(NUM, np.log(9)), abs=0.5)


def either_of(other: Ints, *, sureness: float) -> Answer:
    """Passes say GOLD or `other`, whichever their context is nearer to, and `other` so many times as surely; without
    context, GOLD is the likelier one."""

    def answer(request: PassRequest) -> Array:
        is_labelled = request.labels >= 0
        if not is_labelled.any():
            return 0.1 * confident(GOLD[request.queries])
        near_gold, near_other = ((request.labels == concept)[is_labelled].mean() for concept in (GOLD, other))
        return (
            confident(GOLD[request.queries]) if near_gold > near_other else sureness * confident(other[request.queries])
        )

    return answer


def both_found(answer: Answer) -> list[Result]:
    """Of 10 searches those that ended with two answers."""
    found = [searched(problem(), answer, BlockSettings(num_hot_passes=0), seed)[0] for seed in range(10)]
    two = [result for result in found if len(result.candidates) == 2]
    assert two
    return two


@pytest.mark.slow
def test_of_a_concept_and_its_opposite_the_one_is_chosen_that_the_label_words_mean() -> None:
    """Where U is the same for both; where it is not, U decides."""
    for result in both_found(either_of(1 - GOLD, sureness=1.0)):
        assert result.winner.labels.tolist() == GOLD.tolist()
    for result in both_found(either_of(1 - GOLD, sureness=2.0)):
        assert result.winner.u == max(candidate.u for candidate in result.candidates)


def test_known_labels_decide_between_opposites() -> None:
    """Against the label words, and whatever the chains found first."""
    known = np.full(NUM, -1)
    known[:4] = 1 - GOLD[:4]
    posed = replace(problem(), known=known)
    for seed in range(5):
        result, asked = searched(posed, either_of(1 - GOLD, sureness=1.0), seed=seed)
        assert all(
            (request.labels[:4][request.labels[:4] >= 0] == known[:4][request.labels[:4] >= 0]).all()
            for request in asked
        )
        assert (result.winner.labels == 1 - GOLD).all()


def test_an_answer_that_is_no_opposite_is_chosen_by_u_alone() -> None:
    """The label words mean GOLD, but what is more coherent is found and kept."""
    other = np.where(np.arange(NUM) < NUM * 0.4, 1 - GOLD, GOLD)
    found = [
        searched(problem(), either_of(other, sureness=2.0), BlockSettings(num_hot_passes=0), seed, other)[0]
        for seed in range(5)
    ]
    for result in found:
        assert result.winner.labels.tolist() == other.tolist()
        assert len(result.candidates) > 1


def first_of(*found: tuple[tuple[str, ...], Ints, float], zero_shot: Array) -> tuple[str, ...]:
    """How the answer began that is chosen of these (how it began, labels, U); the orders make U uncertain by 0.01."""
    candidates = [
        Candidate(starts, labels, u, confident(labels), [u - 0.01, u + 0.01], confident(labels))
        for starts, labels, u in found
    ]
    chosen = _likelier_of_equals(problem(), candidates, zero_shot)
    assert len(chosen) == len(candidates)
    return chosen[0].starts


def test_labels_at_other_rates_have_to_lead_over_those_of_the_same_concept() -> None:
    """Whatever the zero-shot scores say: U at some rates is often a little higher where labels are even."""
    few = GOLD.copy()
    few[np.flatnonzero(GOLD)[::2]] = 0
    assert agreement_beyond_chance(few, GOLD, 2) > UNRELATED
    for share, chosen in ((0.9, ("growing",)), (1.1, (UNEVEN,))):
        found = ((UNEVEN,), few, 0.3 + share * problem().slack), (("growing",), GOLD, 0.3)
        assert {first_of(*found, zero_shot=0.5 * confident(means)) for means in (GOLD, few)} == {chosen}


def test_between_unrelated_concepts_u_and_the_zero_shot_scores_decide_together() -> None:
    other = np.arange(NUM) // 2 % 2
    assert agreement_beyond_chance(other, GOLD, 2) < UNRELATED
    alone = 0.02 * confident(GOLD)
    more = information(alone, GOLD) - information(alone, other)
    assert 0 < 1.1 * more < problem().slack
    for share, chosen in ((0.9, ("growing",)), (1.1, ("random",))):
        assert first_of((("random",), other, 0.3 + share * more), (("growing",), GOLD, 0.3), zero_shot=alone) == chosen


def test_rates_are_varied_for_the_likelier_names_unless_they_are_less_coherent() -> None:
    """Rules can make a concept coherent and its opposite not."""
    first = Finalist(("random",), 1 - GOLD, 0.6)
    for lead, labels in ((0.9, GOLD), (1.1, 1 - GOLD)):
        renamed = Finalist(("random", RENAMED), GOLD, 0.6 - lead * problem().slack)
        found = _likelier_named(problem(), [first, Finalist(("growing",), GOLD, 0.5), renamed])
        assert found is not None
        assert found.labels.tolist() == labels.tolist()


def test_answers_with_exchanged_names_come_from_contexts_of_their_own() -> None:
    """All chains ended at the opposite of what the label words mean."""
    for sureness, expected in ((1.0, GOLD), (2.0, 1 - GOLD)):  # where U tells the two apart, it decides
        result, asked = searched(problem(), either_of(1 - GOLD, sureness=sureness), start=1 - GOLD)
        assert len(result.chains) == 2
        assert all((labels == 1 - GOLD).all() for labels in result.chains)
        assert result.winner.labels.tolist() == expected.tolist()
        assert sorted(c.starts for c in result.candidates) == [("given", "given"), ("given", "given", RENAMED)]
        polish = passes_of(asked, 1 + BlockSettings().max_chains)
        assert {request.temperature for request in polish} == {0.0}
        for request in polish:
            shown = request.labels >= 0
            assert (request.labels[shown] == GOLD[shown]).all()
        orders = [tuple(request.order) for request in asked if request.purpose.startswith("chain")]
        assert len(set(orders)) == len(orders)
        assert len({tuple(request.order) for request in asked if request.purpose == "finalists"}) == 3  # common orders


@pytest.mark.slow
def test_zero_shot_labels_are_chosen_where_nothing_is_more_coherent() -> None:
    """Every context makes all labels but the zero-shot ones unlikely, and gives them other labels for the queries."""

    def answer(request: PassRequest) -> Array:
        shown = request.labels >= 0
        if not shown.any() or (request.labels[shown] == GOLD[shown]).all():
            return confident(GOLD[request.queries]) if request.purpose in ("zero-shot", "finalists") else noise(request)
        return noise(request)

    def noise(request: PassRequest) -> Array:
        rng = np.random.default_rng([*request.order.tolist(), *request.queries.tolist()])
        return 2.0 * rng.normal(size=(len(request.queries), 2)) - 5.0

    for seed in range(5):
        result, _ = searched(problem(), answer, seed=seed)
        assert result.winner.labels.tolist() == GOLD.tolist()
        assert result.winner.starts == (ZERO_SHOT_ALONE,)
        assert result.u_start == result.winner.us[0]


def test_an_answer_at_other_rates_has_to_lead_and_one_at_even_rates_clearly() -> None:
    began, noise = Finalist(("growing",), GOLD), np.random.default_rng(0).normal(0, 0.1, NUM)

    def at_rates(share: float, gains: Array) -> AtRates:
        return AtRates(np.array([1 - share, share]), GOLD, confident(GOLD), float(gains.mean()), gains)

    first = at_rates(0.4, np.full(NUM, 0.5))
    error = noise.std(ddof=1) / np.sqrt(NUM)
    for share, limit, starts in ((0.5, 2.0, ("growing", EVEN)), (0.1, 0.0, (UNEVEN,))):
        below, above = (at_rates(share, 0.5 + noise - noise.mean() + (limit + d) * error) for d in (-0.1, 0.1))
        assert _at_best_rates(problem(), began, [first, below]) == []
        assert [one.starts for one in _at_best_rates(problem(), began, [first, below, above])] == [starts]
    for answers in ([first], []):
        assert _at_best_rates(problem(), began, answers) == _at_best_rates(problem(), None, answers) == []
    # Where it is not clearly lower, U does not decide between two concepts that have nothing to do with each other.
    other = np.arange(NUM) // 2 % 2
    assert (other == GOLD).mean() == 0.5
    lower = at_rates(0.1, np.full(NUM, 0.5 - 0.9 * problem().slack))._replace(labels=other)
    near = at_rates(0.5, np.full(NUM, 0.5 - 0.1 * problem().slack))  # a variant of the first, which is higher
    assert [one.labels.tolist() for one in _at_best_rates(problem(), began, [first, near, lower])] == [other.tolist()]
    clearly = lower._replace(u=0.5 - 1.1 * problem().slack)
    assert _at_best_rates(problem(), began, [first, clearly]) == []


@pytest.mark.parametrize("num_finalists", [1, 2, 3, 4, 7])
def test_only_the_best_answers_are_evaluated_on_more_than_one_order(num_finalists: int) -> None:
    rng = np.random.default_rng(0)
    finalists = [Finalist((f"answer {k}",), rng.permutation(GOLD)) for k in range(num_finalists)]
    finalists.append(Finalist(("the first again",), finalists[0].labels.copy()))
    sureness = rng.uniform(0.3, 1.7, size=NUM)

    def answer(request: PassRequest) -> Array:
        (number,) = (k for k, f in enumerate(finalists[:-1]) if (f.labels == request.labels).all())
        # The later, the more coherent, but not surely so: by example, leads differ in sign.
        return (1 + 0.06 * number) * np.roll(sureness, number)[:, None] * confident(request.labels)

    found, asked = driven(weigh(problem(), finalists, 3, np.random.default_rng(1)), answer)
    orders = [tuple(request.order) for request in asked]
    assert orders[:num_finalists] == [orders[0]] * num_finalists
    num_kept = min(num_finalists, NUM_KEPT)
    assert len(asked) == num_finalists + 2 * num_kept
    assert len(set(orders)) == 3
    assert [len(one.us) for one in found] == [3] * num_kept + [1] * (num_finalists - num_kept)
    expected = [f"answer {k}" for k in reversed(range(num_finalists))]
    assert [one.starts[0] for one in found] == expected


def test_an_answer_far_below_the_best_is_evaluated_on_one_order() -> None:
    finalists = [Finalist(("poor",), 1 - GOLD), Finalist(("good",), GOLD)]

    def answer(request: PassRequest) -> Array:
        return confident(request.labels) if (request.labels == GOLD).all() else 0.1 * confident(request.labels)

    good, poor = driven(weigh(problem(), finalists, 3, np.random.default_rng(1)), answer)[0]
    assert (good.starts, len(good.us)) == (("good",), 3)
    assert (poor.starts, len(poor.us)) == (("poor",), 1)
    lead, error = good.lead(poor)
    assert lead > 0
    assert error == 0.0  # of the one order that they share


def test_without_orders_answers_keep_their_order_and_have_no_u() -> None:
    finalists = [Finalist(("one",), GOLD), Finalist(("other",), 1 - GOLD)]
    search = weigh(problem(), finalists, 0, np.random.default_rng(1))
    with pytest.raises(StopIteration) as stopped:
        next(search)
    assert [one.starts[0] for one in stopped.value.value] == ["one", "other"]
    assert all(not one.us and np.isnan(one.logprobs).all() for one in stopped.value.value)


@pytest.mark.parametrize("rate", [0.1, pytest.param(0.8, marks=pytest.mark.slow)])
def test_answers_have_the_given_rates_and_contexts_even_ones(rate: float) -> None:
    rates = np.array([1 - rate, rate])
    posed = replace(problem(), rates=LabelRates(rates, rates))

    def answer(request: PassRequest) -> Array:
        rng = np.random.default_rng([*request.order.tolist(), *request.queries.tolist()])
        return confident(GOLD[request.queries]) - rng.exponential(4.0, (len(request.queries), 2))

    result, asked = searched(posed, answer, BlockSettings(heat=0.0, max_passes=4, num_final_orders=1))
    num_expected = NUM * rate
    for one in result.candidates:
        assert abs(one.labels.sum() - num_expected) <= 1, one.starts
        assert EVEN not in one.starts
    # Contexts have as many of each label as of the rarest if that has enough, and no label of a query.
    for request in asked:
        if request.purpose.startswith("chain"):
            assert (request.labels[request.queries] < 0).all()
            counts = np.bincount(request.labels[request.labels >= 0], minlength=2)
            assert counts.min() == counts.max() or counts.min() < MIN_EVEN_SHOTS
            assert counts.sum() <= 2 * max(counts.min(), MIN_EVEN_SHOTS)


def test_growing_self_labels_are_a_start() -> None:
    result, asked = searched(problem(), lambda request: confident(GOLD[request.queries]))
    growing = [request for request in asked if request.purpose == "growing"]
    assert [int((request.labels >= 0).sum()) for request in growing] == list(BlockSettings().growing_sizes)
    assert all(len(request.queries) == NUM for request in growing)
    assert GROWING in result.winner.starts
    assert passes_of(asked, 1)[0].labels.tolist() == GOLD.tolist()


@given(st.permutations(range(4)), st.integers(0, 99))
def test_labels_get_the_names_that_are_likelier_alone(names: list[int], seed: int) -> None:
    right = np.random.default_rng(seed).permutation(np.arange(40) % 4)
    alone = np.log(np.where(np.arange(4) == right[:, None], 0.4, 0.2))
    found, said = np.array(names)[right], np.eye(4)[np.array(names)[right]]
    renamed = said[:, likelier_names(found, alone)]
    assert renamed.argmax(axis=1).tolist() == right.tolist()
