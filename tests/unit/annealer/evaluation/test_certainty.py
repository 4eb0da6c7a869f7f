"""Figures of how certain labels are, against definitions written out the long way, and against values known by hand."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.certainty import COVERAGES, certainty_figures, risks
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.evaluation.metrics import auroc
from icm_annealer.runs.schema.evaluation import CertaintyFigures


class Row(NamedTuple):
    group: str | None = None


def figures(certainty: list[float], is_right: list[int], groups: list[str | None] | None = None) -> CertaintyFigures:
    rows = [Row(group) for group in groups or [None] * len(certainty)]
    return certainty_figures(rows, np.array(certainty), np.array(is_right, dtype=float))


def risk_at(found: CertaintyFigures, coverage: float) -> float:
    return next(one.risk.value for one in found.risks if one.coverage == coverage)


def slow_risk(certainty: list[float], is_right: list[int], num: int) -> float:
    """The mean over all orders in which the most certain labels stand first."""
    orders = [
        order
        for order in itertools.permutations(range(len(certainty)))
        if all(certainty[i] >= certainty[j] for i, j in itertools.pairwise(order))
    ]
    return sum(sum(1 - is_right[i] for i in order[:num]) / num for order in orders) / len(orders)


TIED = st.lists(st.tuples(st.sampled_from([0.5, 0.7, 0.9]), st.integers(0, 1)), min_size=5, max_size=5)


@given(TIED)
def test_a_risk_is_the_mean_over_all_orders_of_ties(labels: list[tuple[float, int]]) -> None:
    certainty, is_right = [c for c, _ in labels], [r for _, r in labels]
    found = figures(certainty, is_right)
    for num in range(1, 6):
        assert risk_at(found, num / 5) == pytest.approx(slow_risk(certainty, is_right, num))


@given(TIED, st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(any))
def test_a_weight_is_a_repetition(labels: list[tuple[float, int]], counts: list[int]) -> None:
    certainty, is_right = (np.array(column, dtype=float) for column in zip(*labels, strict=True))
    repeated = np.repeat(np.arange(5), counts)
    once = np.ones((1, len(repeated)))
    assert risks(certainty, is_right, np.array([counts], dtype=float))[0] == pytest.approx(
        risks(certainty[repeated], is_right[repeated], once)[0]
    )


def test_known_values() -> None:
    found = figures([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1])
    assert [risk_at(found, coverage) for coverage in (0.25, 0.5, 0.75, 1.0)] == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert [one.certainty for one in found.risks if one.coverage in (0.25, 0.5, 0.75, 1.0)] == [0.9, 0.8, 0.7, 0.6]
    assert found.auroc.value == pytest.approx(2 / 3)
    assert found.ece.value == pytest.approx((0.1 + 0.2 + 0.7 + 0.4) / 4)
    assert found.num == 4
    last = found.risks[-1].risk
    assert (last.low, last.high) == pytest.approx((0.0456, 0.6994), abs=1e-4)  # Wilson's, of one in four


def test_labels_that_are_all_right_have_no_auroc_but_an_interval_of_the_risk() -> None:
    found = figures([0.9, 0.8, 0.7], [1, 1, 1])
    assert math.isnan(found.auroc.value)
    assert all(one.risk.value == one.risk.low == 0 < one.risk.high for one in found.risks)


def random_labels(num: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Calibrated ones: as many are right as their certainty says."""
    certainty = rng.uniform(0.5, 1.0, num)
    return certainty, (rng.random(num) < certainty).astype(float)


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    rows = [Row()] * 100
    covered: dict[float | str, int] = dict.fromkeys(("auroc", 0.5, 1.0), 0)
    certainty, is_right = random_labels(200_000, rng)
    ones = np.ones((1, len(certainty)))
    truth: dict[float | str, float] = dict(zip(COVERAGES, risks(certainty, is_right, ones)[0], strict=True))
    truth["auroc"] = auroc(certainty, is_right > 0, ones)[0]
    for _ in range(100):
        found = certainty_figures(rows, *random_labels(100, rng))
        estimates: dict[float | str, Estimate] = {one.coverage: one.risk for one in found.risks}
        estimates["auroc"] = found.auroc
        for name in covered:
            covered[name] += estimates[name].low <= truth[name] <= estimates[name].high
    assert all(number >= 88 for number in covered.values()), covered


def test_no_wrong_label_in_a_few_groups_does_not_mean_that_none_can_be() -> None:
    found = figures([0.9] * 8, [1] * 8, [str(number // 2) for number in range(8)])
    assert found.risks[-1].risk == wilson(0, 4)


def test_labels_of_a_group_count_as_one() -> None:
    rng = np.random.default_rng(1)
    certainty, is_right = (np.repeat(values, 2).tolist() for values in random_labels(60, rng))
    alone = figures(certainty, is_right)
    tied = figures(certainty, is_right, [str(number // 2) for number in range(120)])
    assert "groups" in tied.intervals
    assert tied.risks[-1].risk.value == alone.risks[-1].risk.value
    for one, other in ((tied.risks[-1].risk, alone.risks[-1].risk), (tied.auroc, alone.auroc)):
        assert one.high - one.low > 1.2 * (other.high - other.low)
