"""Plans leave exactly one unit out, share what they can, and stay inside the window."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.scoring.prefix_plan import MAX_TRIMMED, PlanKind, PrefixPlan, Unit, behind_all
from icm_client import RequestError

FEW = settings(max_examples=50, deadline=None)
ROOMY = math.inf


@st.composite
def ordered_units(draw: st.DrawFn) -> list[Unit]:
    """1 to 80 units, most of one example and some of several, in any order."""
    sizes = draw(st.lists(st.sampled_from([1, 1, 1, 2, 4]), min_size=1, max_size=80))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32))).permutation(sum(sizes))
    return [unit.astype(np.int64) for unit in np.split(numbers, np.cumsum(sizes)[:-1])]


def num_examples(units: list[Unit]) -> int:
    return sum(map(len, units))


def equal_lengths(units: list[Unit]) -> npt.NDArray[np.float64]:
    return np.ones(num_examples(units))


def unit_of(units: list[Unit]) -> dict[int, int]:
    return {int(example): number for number, unit in enumerate(units) for example in unit}


def check_is_tree(plan: PrefixPlan) -> None:
    """Parents come before children, and no prefix is empty."""
    for number, (parent, shots) in enumerate(plan.prefixes):
        assert parent is None or 0 <= parent < number
        assert shots


def check_reads(plan: PrefixPlan, units: list[Unit]) -> None:
    assert sorted(example for _, example in plan.reads) == list(range(num_examples(units)))


def num_shots(plan: PrefixPlan) -> int:
    return sum(len(shots) for _, shots in plan.prefixes)


@FEW
@given(ordered_units(), st.sampled_from(["tree", "fixed"]))
def test_every_example_is_read_once_behind_all_other_units(units: list[Unit], name: str) -> None:
    plan = PlanKind.parse(name).build(units, equal_lengths(units), ROOMY)
    check_is_tree(plan)
    check_reads(plan, units)
    assert plan.num_dropped == 0
    owner = unit_of(units)
    for (_, example), context in zip(plan.reads, plan.contexts(), strict=True):
        others = [int(i) for number, unit in enumerate(units) if number != owner[example] for i in unit]
        assert sorted(context) == sorted(others)


@FEW
@given(ordered_units(), st.integers(2, 12))
def test_folds_leave_out_exactly_their_leaf(units: list[Unit], num_folds: int) -> None:
    plan = PlanKind.parse(f"folds={num_folds}").build(units, equal_lengths(units), ROOMY)
    check_is_tree(plan)
    check_reads(plan, units)
    owner, all_examples = unit_of(units), set(range(num_examples(units)))
    leaves: dict[frozenset[int], set[int]] = {}
    for (_, example), context in zip(plan.reads, plan.contexts(), strict=True):
        assert len(set(context)) == len(context)
        leaves.setdefault(frozenset(all_examples - set(context)), set()).add(example)
    # What is missing from a leaf's context is the leaf: whole units, all of them read behind that context.
    for left_out, read in leaves.items():
        assert left_out == read
        assert all(set(units[owner[example]].tolist()) <= left_out for example in left_out)
    assert len(leaves) == min(num_folds, len(units))


@FEW
@given(st.integers(1, 80))
def test_a_tree_computes_at_most_n_log_n_shots(num: int) -> None:
    units = [np.array([i]) for i in range(num)]
    plan = PlanKind("tree").build(units, np.ones(num), ROOMY)
    assert num_shots(plan) <= num * math.ceil(math.log2(num)) if num > 1 else num_shots(plan) == 0


def test_fixed_computes_about_half_of_n_squared_shots() -> None:
    units = [np.array([i]) for i in range(64)]
    assert num_shots(PlanKind("fixed").build(units, np.ones(64), ROOMY)) == 64 * 63 // 2 + 64


def test_fixed_keeps_the_order() -> None:
    units = [np.array([i]) for i in (3, 1, 0, 2)]
    plan = PlanKind("fixed").build(units, np.ones(4), ROOMY)
    contexts = {example: context for (_, example), context in zip(plan.reads, plan.contexts(), strict=True)}
    assert contexts == {3: [1, 0, 2], 1: [3, 0, 2], 0: [3, 1, 2], 2: [3, 1, 0]}


@FEW
@given(
    ordered_units(),
    st.sampled_from(["tree", "fixed", "chain", "folds=3"]),
    st.floats(0.05, 0.95),
    st.integers(0, 2**32),
)
def test_contexts_fit_a_window_that_is_too_small(units: list[Unit], name: str, share: float, seed: int) -> None:
    lengths = np.random.default_rng(seed).uniform(1.0, 20.0, num_examples(units))
    longest = max(lengths[context].sum() for context in PlanKind.parse(name).build(units, lengths, ROOMY).contexts())
    window = share * longest
    plan = PlanKind.parse(name).build(units, lengths, window)
    check_is_tree(plan)
    check_reads(plan, units)
    assert plan.num_dropped > 0 or len(units) == 1
    owner = unit_of(units)
    for (_, example), context in zip(plan.reads, plan.contexts(), strict=True):
        assert lengths[context].sum() <= window + 1e-6
        assert len(set(context)) == len(context)
        assert owner[example] not in {owner[i] for i in context}
        for number in {owner[i] for i in context}:  # units stand in a context whole, or not at all
            assert set(units[number].tolist()) <= set(context)


@FEW
@given(st.integers(2, 80), st.floats(1.0, 79.0), st.sampled_from(["tree", "folds=3"]))
def test_no_context_is_empty_where_a_shot_fits(num: int, window: float, name: str) -> None:
    units = [np.array([i]) for i in range(num)]
    plan = PlanKind.parse(name).build(units, np.ones(num), window)
    assert all(plan.contexts())


@FEW
@given(st.integers(2, 80), st.floats(2.0, 79.0))
def test_a_window_is_well_filled(num: int, window: float) -> None:
    units = [np.array([i]) for i in range(num)]
    sizes = [len(context) for context in PlanKind("tree").build(units, np.ones(num), window).contexts()]
    most = min(num - 1, math.floor(window))
    assert max(sizes) <= most
    assert np.mean(sizes) >= 0.75 * most


def test_a_cut_tree_samples_evenly() -> None:
    """What is left of 64 shots in a window of 32 comes from all over the order, not from its end."""
    units = [np.array([i]) for i in range(64)]
    contexts = PlanKind("tree").build(units, np.ones(64), 32.0).contexts()
    quarters = np.array([np.bincount(np.array(context) // 16, minlength=4) for context in contexts]).mean(axis=0)
    assert (quarters > 5).all()


@FEW
@given(st.integers(2, 200), st.sampled_from(["folds=2", "folds=4", "tree"]), st.integers(-2, 1), st.integers(0, 2**32))
def test_aligned_contexts_end_on_a_block(num: int, name: str, before: int, seed: int) -> None:
    block = 32
    units = [np.array([i]) for i in range(num)]
    lengths = np.random.default_rng(seed).integers(8, 13, num).astype(np.float64)
    plan = PlanKind.parse(name).build(units, lengths, ROOMY)
    aligned = plan.aligned(lengths, before, block)
    check_is_tree(aligned)
    check_reads(aligned, units)
    assert num_shots(plan) - num_shots(aligned) == aligned.num_trimmed
    rests = []
    for whole, context in zip(plan.contexts(), aligned.contexts(), strict=True):
        assert set(context) <= set(whole)
        assert len(whole) - len(context) <= min(MAX_TRIMMED, len(whole) / 16)
        assert (before + lengths[context].sum()) % block <= (before + lengths[whole].sum()) % block
        rests.append((before + lengths[context].sum()) % block)
    if name == "tree":  # one read a context: nothing to win
        assert aligned.num_trimmed == 0
    elif name == "folds=2" and num >= 128:
        assert np.mean(rests) <= 4


@FEW
@given(ordered_units(), st.integers(2, 12), st.integers(0, 2**32))
def test_a_plan_for_some_examples_leaves_their_contexts_alone(units: list[Unit], num_folds: int, seed: int) -> None:
    plan = PlanKind.parse(f"folds={num_folds}").build(units, equal_lengths(units), ROOMY)
    contexts = {example: context for (_, example), context in zip(plan.reads, plan.contexts(), strict=True)}
    num = num_examples(units)
    some = np.flatnonzero(np.random.default_rng(seed).random(num) < 0.3).tolist()
    part = plan.only({example: [example] for example in some})
    check_is_tree(part)
    assert {example: context for (_, example), context in zip(part.reads, part.contexts(), strict=True)} == {
        example: contexts[example] for example in some
    }
    assert num_shots(part) <= num_shots(plan)


@FEW
@given(ordered_units(), st.integers(0, 2**32))
def test_others_are_read_where_an_example_is(units: list[Unit], seed: int) -> None:
    plan = PlanKind("tree").build(units, equal_lengths(units), ROOMY)
    contexts = {example: context for (_, example), context in zip(plan.reads, plan.contexts(), strict=True)}
    hosts = np.random.default_rng(seed).integers(num_examples(units), size=5).tolist()
    guests = {host: [1000 + host, 2000 + host] for host in hosts}
    part = plan.only(guests)
    assert sorted(example for _, example in part.reads) == sorted(guest for pair in guests.values() for guest in pair)
    for (_, guest), context in zip(part.reads, part.contexts(), strict=True):
        assert context == contexts[guest % 1000]


@FEW
@given(ordered_units(), st.sampled_from(["tree", "fixed", "chain", "folds=2", "folds=5"]), st.integers(0, 2**32))
def test_hidden_examples_keep_their_place_but_are_in_no_context(units: list[Unit], name: str, seed: int) -> None:
    whole = PlanKind.parse(name).build(units, equal_lengths(units), ROOMY)
    hidden = set(np.flatnonzero(np.random.default_rng(seed).random(num_examples(units)) < 0.5).tolist())
    plan = whole.without(hidden)
    check_is_tree(plan)
    assert [example for _, example in plan.reads] == [example for _, example in whole.reads]
    assert plan.contexts() == [[shot for shot in context if shot not in hidden] for context in whole.contexts()]
    assert num_shots(plan) == sum(shot not in hidden for _, shots in whole.prefixes for shot in shots)
    assert whole.without(()) == whole


@pytest.mark.parametrize("name", ["tree", "folds=2"])
def test_a_shot_that_fits_is_kept_beside_hidden_ones(name: str) -> None:
    """Hidden shots have no length, so they always fit: they do not stand for the one shot that a context has at
    least."""
    lengths = np.array([0.0, 3.0] * 8)
    plan = PlanKind.parse(name).build([np.array([k]) for k in range(16)], lengths, 3.0)
    assert all(any(lengths[shot] for shot in context) for context in plan.without(range(0, 16, 2)).contexts())


@FEW
@given(ordered_units(), ordered_units())
def test_two_plans_in_one_keep_their_contexts(units: list[Unit], others: list[Unit]) -> None:
    first = PlanKind("tree").build(units, equal_lengths(units), ROOMY)
    second = PlanKind("fixed").build(others, equal_lengths(others), ROOMY)
    both = first + second
    check_is_tree(both)
    assert [example for _, example in both.reads] == [example for _, example in first.reads + second.reads]
    assert both.contexts() == first.contexts() + second.contexts()


@FEW
@given(ordered_units())
def test_a_chain_reads_each_unit_behind_those_before_it(units: list[Unit]) -> None:
    plan = PlanKind("chain").build(units, equal_lengths(units), ROOMY)
    check_is_tree(plan)
    check_reads(plan, units)
    assert plan.num_dropped == 0
    assert num_shots(plan) == num_examples(units)  # N shots a pass
    before: list[int] = []
    contexts = {example: context for (_, example), context in zip(plan.reads, plan.contexts(), strict=True)}
    for unit in units:
        assert all(contexts[int(example)] == before for example in unit)
        before = before + unit.tolist()


@FEW
@given(ordered_units(), st.floats(0.1, 2.0))
def test_behind_all_is_one_context(units: list[Unit], share: float) -> None:
    lengths = equal_lengths(units)
    queries = [1000, 1001]
    plan = behind_all(units, queries, lengths, share * lengths.sum())
    assert [example for _, example in plan.reads] == queries
    assert len(plan.prefixes) <= 1
    shots = plan.prefixes[0][1] if plan.prefixes else []
    assert len(shots) <= share * lengths.sum() + 1e-6
    assert len(shots) + plan.num_dropped == num_examples(units)
    assert (plan.num_dropped > 0) == (share < 1.0)


@pytest.mark.parametrize("text", ["", "Tree", "folds", "folds=1", "folds=0", "folds=-2", "tree=3", "folds=2.5"])
def test_unknown_plans_are_reported(text: str) -> None:
    with pytest.raises(RequestError, match="no plan"):
        PlanKind.parse(text)


@pytest.mark.parametrize("text", ["tree", "fixed", "chain", "folds=2", "folds=16"])
def test_a_plan_prints_as_it_is_named(text: str) -> None:
    assert str(PlanKind.parse(text)) == text
