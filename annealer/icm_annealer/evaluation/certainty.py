"""How well the certainty of labels tells right ones from wrong ones.

risk at coverage x   the share of wrong labels among the x most certain ones, ties broken at random
auroc                the probability that a right label is more certain than a wrong one, ties by half
ece                  |share right - mean certainty| over bins of the certainty, as in `metrics`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.examples import Grouped
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.evaluation.metrics import DIGITS, Resamples, auroc, calibration_error, interval
from icm_annealer.evaluation.test_set import units_of
from icm_annealer.runs.schema.evaluation import CertaintyFigures, RiskAtCoverage

COVERAGES = tuple(step / 20 for step in range(1, 21))


def certainty_figures(examples: Sequence[Grouped], certainty: Array, is_right: Array) -> CertaintyFigures:
    """Figures of labels [n], n > 0, whose gold labels are known: `certainty` from 0 to 1, `is_right` 0 or 1.

    Intervals are 95 %. Those of risks are Wilson's, since a bootstrap has none where no label is wrong; all others, and
    all of examples in groups, are by bootstrap over examples or groups. Risks of 0 and 1 in groups have Wilson's of as
    many groups.
    """
    units = units_of(examples)
    is_grouped = len(np.unique(units)) < len(units)
    certainty = np.round(certainty, DIGITS)
    drawn = Resamples(units)
    if is_grouped:
        drawn_risks = _estimates(lambda weights: risks(certainty, is_right, weights), drawn, len(units))
        nums = (len(np.unique(units)) * np.array(COVERAGES)).tolist()
        found = [
            one if 0 < one.value < 1 else wilson(one.value * num, num)
            for one, num in zip(drawn_risks, nums, strict=True)
        ]
    else:
        values, nums = (
            risks(certainty, is_right, np.ones((1, len(units))))[0],
            (len(units) * np.array(COVERAGES)).tolist(),
        )
        found = [wilson(value * num, num) for value, num in zip(values.tolist(), nums, strict=True)]
    (right_above_wrong,) = _estimates(lambda w: auroc(certainty, is_right > 0, w)[:, None], drawn, len(units))
    (ece,) = _estimates(lambda w: calibration_error(certainty, is_right, w)[:, None], drawn, len(units))
    return CertaintyFigures(
        num=len(units),
        intervals="bootstrap over groups" if is_grouped else "Wilson's of shares, else bootstrap over examples",
        auroc=right_above_wrong,
        ece=ece,
        risks=[
            RiskAtCoverage(coverage=x, certainty=lowest, risk=risk)
            for x, lowest, risk in zip(COVERAGES, _lowest(certainty), found, strict=True)
        ],
    )


def risks(certainty: Array, is_right: Array, weights: Array) -> Array:
    """[r, coverage]: the risk at each of COVERAGES for each weighting [r, n] of the labels."""
    order = np.argsort(-certainty, kind="stable")
    falling, ordered = certainty[order], weights[:, order]
    starts = np.flatnonzero(np.r_[True, falling[1:] < falling[:-1]])
    covered = _from_zero(np.add.reduceat(ordered, starts, axis=1))
    wrong = _from_zero(np.add.reduceat(ordered * (1 - is_right[order]), starts, axis=1))
    targets = np.array(COVERAGES) * weights.sum(axis=1, keepdims=True)
    # Between the ends of two ties, the wrong labels of a tie are spread evenly.
    num_wrong = [np.interp(*row) for row in zip(targets, covered, wrong, strict=True)]
    shares: Array = np.array(num_wrong) / targets
    return shares


def _from_zero(parts: Array) -> Array:
    sums: Array = np.concatenate([np.zeros((len(parts), 1)), np.cumsum(parts, axis=1)], axis=1)
    return sums


def _lowest(certainty: Array) -> list[float]:
    """The lowest certainty at each of COVERAGES."""
    falling = np.sort(certainty)[::-1]
    return [float(falling[math.ceil(round(x * len(falling), DIGITS)) - 1]) for x in COVERAGES]


def _estimates(figures: Callable[[Array], Array], drawn: Resamples, num: int) -> list[Estimate]:
    """Of figures [r, k] of weightings [r, num], each with its interval over the resamples."""
    values = figures(np.ones((1, num)))[0]
    resampled = np.concatenate([figures(weights) for weights in drawn])
    return [Estimate(float(value), *interval(column)) for value, column in zip(values, resampled.T, strict=True)]
