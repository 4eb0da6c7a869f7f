"""A curve with its interval as a band. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.base import BLUE, LEGEND, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_HEIGHT = 0.05
"""The least height of the axis, so that a curve at zero is seen to lie at zero."""


@dataclass(frozen=True)
class BandPlot:
    """A curve over shares, from zero upwards; both axes are in per cent."""

    title: str
    x_label: str
    y_label: str
    points: tuple[tuple[float, Estimate], ...]
    """Shares from 0 to 1, by rising x."""
    interval: str = "95 % interval"

    @property
    def height(self) -> float:
        """Inches."""
        return 2.1 + LEGEND

    def draw(self, figure: Figure) -> None:
        """The points are joined, and so are the ends of their intervals."""
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes = figure.subplots()
        xs = [x for x, _ in self.points]
        lows, highs = [y.low for _, y in self.points], [y.high for _, y in self.points]
        band = axes.fill_between(xs, lows, highs, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(xs, [y.value for _, y in self.points], color=BLUE, marker="o", clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, min(1.0, max(axes.get_ylim()[1], MIN_HEIGHT)))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))
        axes.set_title(shown(self.y_label))
        axes.set_xlabel(shown(self.x_label))
        figure.legend([band], [self.interval], loc="outside lower left")
