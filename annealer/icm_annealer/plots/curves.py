"""Curves over the passes of a search. A leaf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icm_annealer.plots.base import DASHES, LEGEND, MARKERS, SERIES, limits, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_MARKERS = 10
"""The approximate number of points of a curve that get a marker."""
MAX_LABEL = 24


@dataclass(frozen=True)
class Curve:
    """Points, from left to right, that are joined by a line."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CurvePlot:
    """Curves over whole numbers from 1 on."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    bounds: tuple[float, float] | None = None
    """The range of possible values. The axis does not extend beyond it."""
    least: float = 0.0
    """The least height of the axis, in its unit."""

    @property
    def height(self) -> float:
        """In inches; grows with the legend."""
        return 2.1 + LEGEND * math.ceil(len(self.curves) / self._num_columns)

    @property
    def _num_columns(self) -> int:
        return 3 if all(len(curve.label) <= 12 for curve in self.curves) else 2

    def draw(self, figure: Figure) -> None:
        """The legend is below the axes. A single curve has one too, because it shows the curve's name."""
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        for number, curve in enumerate(self.curves):
            axes.plot(
                [x for x, _ in curve.points],
                [y for _, y in curve.points],
                color=SERIES[number % len(SERIES)],
                linestyle=DASHES[number % len(DASHES)],
                marker=MARKERS[number % len(MARKERS)],
                markevery=max(1, len(curve.points) // NUM_MARKERS),
                zorder=3 - number / len(self.curves),
                clip_on=False,
            )
        last = max((x for curve in self.curves for x, _ in curve.points), default=1)
        if last > 1:
            axes.set_xlim(1, last)
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
        else:  # single points stand in the middle, above the only number
            axes.set_xlim(0, 2)
            axes.set_xticks([1])
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        axes.set_ylim(limits(*axes.get_ylim(), self.least, self.bounds))
        axes.set_title(shown(self.y_label))
        axes.set_xlabel(shown(self.x_label))
        labels = [shown(curve.label, MAX_LABEL) for curve in self.curves]
        figure.legend(axes.lines, labels, loc="outside lower left", ncols=self._num_columns)
