"""Plots and table rows of how certain labels are: their number by certainty, and how many of the most certain are
wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from icm_annealer.plots.bands import BandPlot
from icm_annealer.plots.stacks import Stack, StackPlot
from icm_annealer.runs.schema.evaluation import CertaintyFigures, RiskAtCoverage
from icm_annealer.runs.schema.rows import LabelRow

LIMITS = (0.99, 0.9, 0.8, 0.6)
"""The certainties that the plot counts labels by; labels below the last one are called uncertain."""
SHOWN_COVERAGES = (0.25, 0.5, 0.75, 0.9, 1.0)
"""The rows of a table of risks."""


def certainty_counts(rows: Sequence[LabelRow], names: Sequence[str]) -> StackPlot:
    """How many labels have a certainty of at least each of LIMITS, by label name."""
    certainties: dict[str, list[float]] = {name: [] for name in names}
    for row in rows:
        certainties[row.label].append(row.certainty)
    parts = (
        f"≥ {LIMITS[0]:g}",
        *(f"{low:g} to {high:g}" for high, low in pairwise(LIMITS)),
        f"< {LIMITS[-1]:g}",
    )
    stacks = tuple(Stack(name, _counts(of_label)) for name, of_label in certainties.items())
    return StackPlot("Labels by their certainty", "number of labels, by their certainty", parts, stacks)


def risk_curve(figures: CertaintyFigures) -> BandPlot:
    """The share of wrong labels among the most certain ones."""
    points = tuple((one.coverage, one.risk) for one in figures.risks)
    return BandPlot("Wrong labels among the most certain", "the most certain labels", "wrong among them", points)


def shown_risks(figures: CertaintyFigures) -> list[RiskAtCoverage]:
    """A few of the risks, for a table."""
    return [one for one in figures.risks if one.coverage in SHOWN_COVERAGES]


def at_least(certainty: float) -> str:
    """The greatest number of two decimals that the certainty is not below: a threshold that keeps all such labels."""
    return f"{math.floor(round(100 * certainty, 9)) / 100:.2f}"


def _counts(certainties: Sequence[float]) -> tuple[int, ...]:
    reached = [0, *(sum(one >= limit for one in certainties) for limit in LIMITS), len(certainties)]
    return tuple(more - fewer for fewer, more in pairwise(reached))
