"""Figures of predictions against definitions written out the long way, and against values known by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import MIN_SEEDS, median_over_seeds, seeds_interval, wilson
from icm_annealer.evaluation.metrics import (
    FIGURES,
    NUM_BINS,
    Judged,
    Resamples,
    gap_recovered,
    interval,
    point,
    quality,
)
from icm_annealer.evaluation.test_set import describe_intervals


def judged(probs: list[list[float]], gold: list[int]) -> Judged:
    return Judged(np.log(np.array(probs)), np.array(gold))


def slow_auroc(scores: list[float], positive: list[bool]) -> float:
    pairs = [
        (s, t)
        for s, p in zip(scores, positive, strict=True)
        if p
        for t, q in zip(scores, positive, strict=True)
        if not q
    ]
    return sum(1.0 if s > t else 0.5 if s == t else 0.0 for s, t in pairs) / len(pairs) if pairs else math.nan


def slow_figures(one: Judged) -> dict[str, float]:
    """Every figure by loops over examples."""
    probs, gold = one.probs.tolist(), one.gold.tolist()
    num_labels = len(probs[0])
    right = [float(row.index(max(row)) == label) for row, label in zip(probs, gold, strict=True)]
    recalls = [[r for r, label in zip(right, gold, strict=True) if label == name] for name in sorted(set(gold))]
    areas = [
        slow_auroc([round(row[k], 9) for row in probs], [label == k for label in gold])
        for k in (range(num_labels) if num_labels > 2 else [1])
    ]
    known = [area for area in areas if not math.isnan(area)]
    ece = 0.0
    for number in range(NUM_BINS):
        low, high = round(number / NUM_BINS, 9), (number + 1) / NUM_BINS
        inside = [i for i, row in enumerate(probs) if low < round(max(row), 9) <= round(high, 9)]
        if inside:
            share = sum(right[i] for i in inside) / len(inside)
            ece += len(inside) / len(gold) * abs(share - sum(max(probs[i]) for i in inside) / len(inside))
    return {
        "accuracy": sum(right) / len(right),
        "balanced_accuracy": sum(sum(part) / len(part) for part in recalls) / len(recalls),
        "auroc": sum(known) / len(known) if known else math.nan,
        "ece": ece,
        "brier": sum(
            sum((p - (k == label)) ** 2 for k, p in enumerate(row)) for row, label in zip(probs, gold, strict=True)
        )
        / len(gold),
    }


@st.composite
def predictions(draw: st.DrawFn) -> Judged:
    """Probabilities of few values, so that ties are frequent and confidences lie on the edges of bins."""
    num_labels, num = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    parts = draw(
        st.lists(
            st.lists(st.sampled_from([1, 2, 4]), min_size=num_labels, max_size=num_labels), min_size=num, max_size=num
        )
    )
    gold = draw(st.lists(st.integers(0, num_labels - 1), min_size=num, max_size=num))
    return Judged(np.log(np.array(parts, dtype=float)), np.array(gold))


@given(predictions())
def test_every_figure_is_its_definition(one: Judged) -> None:
    expected = slow_figures(one)
    for name, figure in FIGURES.items():
        assert point(figure, one) == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


@given(predictions(), st.data())
def test_a_weight_is_a_repetition(one: Judged, data: st.DataObject) -> None:
    num = len(one.gold)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=num, max_size=num).filter(any))
    repeated = np.repeat(np.arange(num), counts)
    again = Judged(one.logprobs[repeated], one.gold[repeated])
    weights = np.array([counts, [1] * num], dtype=float)
    for name, figure in FIGURES.items():
        assert figure(one, weights)[0] == pytest.approx(point(figure, again), abs=1e-12, nan_ok=True), name
        assert figure(one, weights)[1] == pytest.approx(point(figure, one), abs=1e-12, nan_ok=True), name


def test_known_values() -> None:
    one = judged([[0.9, 0.1], [0.6, 0.4], [0.35, 0.65], [0.2, 0.8]], [0, 1, 0, 1])
    assert point(FIGURES["accuracy"], one) == 0.5
    assert point(FIGURES["auroc"], one) == 0.75  # 3 of 4 pairs are in order
    assert point(FIGURES["brier"], one) == pytest.approx(2 * (0.01 + 0.36 + 0.4225 + 0.04) / 4)
    # Four bins of one example each: |1 - 0.9| + |0 - 0.6| + |0 - 0.65| + |1 - 0.8|, over four.
    assert point(FIGURES["ece"], one) == pytest.approx(1.55 / 4)


def test_uneven_classes_count_evenly_in_balanced_accuracy() -> None:
    one = judged([[0.9, 0.1]] * 10, [0] * 9 + [1])
    assert point(FIGURES["accuracy"], one) == 0.9
    assert point(FIGURES["balanced_accuracy"], one) == 0.5


def test_log_probabilities_need_not_be_normalised() -> None:
    one = judged([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]], [0, 1, 0])
    shifted = Judged(one.logprobs - np.array([[3.0], [0.5], [7.0]]), one.gold)
    for figure in FIGURES.values():
        assert point(figure, shifted) == pytest.approx(point(figure, one))


def test_sure_predictions_are_still_ranked() -> None:
    """Probabilities that are 1 to the last digit tie; their log-odds do not."""
    one = Judged(np.array([[-50.0, 0.0], [-40.0, 0.0], [-60.0, 0.0]]), np.array([0, 0, 1]))
    assert point(FIGURES["auroc"], one) == 1.0


def test_one_class_has_no_auroc() -> None:
    figures = quality(judged([[0.9, 0.1], [0.2, 0.8]], [1, 1]), Resamples(np.arange(2), num=50))
    assert math.isnan(figures["auroc"].value)
    assert figures["auroc"].to_dict() == {"value": None, "low": None, "high": None}
    assert figures["accuracy"].value == 0.5


def random_predictions(num: int, rng: np.random.Generator) -> tuple[Array, Ints]:
    """Calibrated ones: gold is drawn from the probabilities."""
    odds = rng.normal(0, 2, num)
    p = 1 / (1 + np.exp(-odds))
    return np.log(np.stack([1 - p, p], axis=1)), (rng.random(num) < p).astype(np.int64)


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Balanced accuracy, AUROC and Brier of 80 examples against those of very many."""
    rng = np.random.default_rng(0)
    names = ["balanced_accuracy", "auroc", "brier"]
    truth = {name: point(FIGURES[name], Judged(*random_predictions(200_000, rng))) for name in names}
    covered = dict.fromkeys(names, 0)
    for seed in range(200):
        figures = quality(Judged(*random_predictions(80, rng)), Resamples(np.arange(80), seed, num=300))
        for name in names:
            covered[name] += figures[name].low <= truth[name] <= figures[name].high
    assert all(0.88 <= number / 200 <= 0.99 for number in covered.values()), covered


def test_calibrated_predictions_have_a_small_ece_and_sure_wrong_ones_a_large_one() -> None:
    logprobs, gold = random_predictions(50_000, np.random.default_rng(1))
    assert point(FIGURES["ece"], Judged(logprobs, gold)) < 0.02
    assert point(FIGURES["ece"], judged([[0.99, 0.01]] * 20, [1] * 20)) == pytest.approx(0.99)


def test_accuracy_has_wilsons_interval_unless_examples_are_tied() -> None:
    one = judged([[0.9, 0.1]] * 10, [0] * 10)
    assert quality(one, Resamples(np.arange(10)))["accuracy"].low == pytest.approx(0.7225, abs=1e-4)
    assert quality(one, Resamples(np.arange(10) // 2), is_grouped=True)["accuracy"] == wilson(5, 5)


def test_groups_are_drawn_whole_and_all_draws_are_the_same_again() -> None:
    units = np.array([0, 0, 1, 2, 2])
    resamples = Resamples(units, seed=3, num=40)
    weights = np.concatenate(list(resamples))
    assert weights.shape == (40, 5)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert (np.concatenate(list(resamples)) == weights).all()


def test_draws_in_parts_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_annealer.evaluation.metrics.MAX_CELLS", 30)
    parts = list(Resamples(np.arange(10), num=25))
    assert [len(part) for part in parts] == [3] * 8 + [1]
    assert all((part.sum(axis=1) == 10).all() for part in parts)


def test_tied_pairs_widen_an_interval() -> None:
    """Every example twice: drawn one by one, they would seem to be twice as many."""
    rng = np.random.default_rng(2)
    logprobs, gold = random_predictions(60, rng)
    twice = Judged(np.repeat(logprobs, 2, axis=0), np.repeat(gold, 2))
    alone, tied = (quality(twice, Resamples(units))["brier"] for units in (np.arange(120), np.arange(120) // 2))
    assert (tied.high - tied.low) > 1.25 * (alone.high - alone.low)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_share_that_all_draws_repeat_has_an_interval_all_the_same(right: float) -> None:
    units = np.repeat(np.arange(6), 2)
    found = Resamples(units).share(np.full(12, right), np.repeat([1.0, 0.0], 6))
    assert found == wilson(3 * right, 3)  # units, not values
    assert math.isnan(Resamples(units).share(np.full(12, right), np.zeros(12)).value)
    sure = judged([[0.9, 0.1]] * 12, [0 if right else 1] * 12)
    assert quality(sure, Resamples(units), is_grouped=True)["accuracy"] == wilson(6 * right, 6)


@pytest.mark.parametrize("num", [2, 3, 4, 5, 6])
def test_few_seeds_have_no_95_percent_interval(num: int) -> None:
    values = list(range(num))
    found = median_over_seeds(values)
    assert (seeds_interval(num) == "95 % interval") == (num >= MIN_SEEDS)
    assert ("95 %" in describe_intervals(num, is_grouped=False)) == (num >= MIN_SEEDS)
    if num < MIN_SEEDS:
        assert (found.low, found.high) == (0, num - 1)
        assert 1 - 2 * 0.5**num < 0.9  # how often they hold the median


def test_the_interval_leaves_out_what_is_not_known() -> None:
    assert interval(np.array([1.0, math.nan, 1.0])) == (1.0, 1.0)
    assert all(map(math.isnan, interval(np.array([math.nan]))))


@pytest.mark.parametrize(
    ("zero", "ours", "gold", "share"), [(0.5, 0.9, 0.9, 1.0), (0.5, 0.7, 0.9, 0.5), (0.6, 0.5, 0.8, -0.5)]
)
def test_gap_recovered_by_hand(zero: float, ours: float, gold: float, share: float) -> None:
    spread = np.array([-0.01, 0.0, 0.01])
    estimate = gap_recovered([zero, ours, gold], [value + spread for value in (zero, ours, gold)])
    assert estimate.value == pytest.approx(share)
    assert estimate.low == pytest.approx(share)  # all three move together
    assert estimate.high == pytest.approx(share)


def test_no_gap_no_share() -> None:
    for gold in (0.5, 0.4):
        estimate = gap_recovered([0.5, 0.6, gold], [np.array([0.5]), np.array([0.6]), np.array([gold])])
        assert math.isnan(estimate.value)


def test_a_gap_that_may_be_none_has_no_interval() -> None:
    resampled = [np.full(100, 0.5), np.full(100, 0.55), np.linspace(0.45, 0.65, 100)]
    estimate = gap_recovered([0.5, 0.55, 0.55], resampled)
    assert estimate.value == pytest.approx(1.0)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_resamples_are_paired_between_methods() -> None:
    """The same answers recover all of the gap in every draw, whatever the draw."""
    rng = np.random.default_rng(4)
    logprobs, gold = random_predictions(100, rng)
    zero = Judged(np.zeros((100, 2)), gold)
    ours = Judged(logprobs, gold)
    resamples = Resamples(np.arange(100), num=200)
    draws = [np.concatenate([FIGURES["accuracy"](one, w) for w in resamples]) for one in (zero, ours, ours)]
    estimate = gap_recovered([point(FIGURES["accuracy"], one) for one in (zero, ours, ours)], draws)
    assert (estimate.value, estimate.low, estimate.high) == (1.0, 1.0, 1.0)


def test_an_estimate_without_knowledge_is_null_in_json() -> None:
    assert Estimate(0.5, math.nan, 1.0).to_dict() == {"value": 0.5, "low": None, "high": 1.0}


def test_all_orders_of_labels_give_the_same_multiclass_auroc() -> None:
    rng = np.random.default_rng(5)
    logprobs, gold = rng.normal(size=(30, 3)), rng.integers(3, size=30)
    areas = [
        point(FIGURES["auroc"], Judged(logprobs[:, list(order)], np.argsort(order)[gold]))
        for order in itertools.permutations(range(3))
    ]
    assert areas == pytest.approx([areas[0]] * 6)
