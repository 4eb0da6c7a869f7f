"""Values with intervals over a share, some of them marked. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.base import BLUE, LEGEND, SOFT, VERMILLION, limits, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PointPlot:
    """Points over shares in per cent, joined from left to right."""

    title: str
    x_label: str
    y_label: str
    points: tuple[tuple[float, Estimate], ...]
    """Shares from 0 to 1, by rising x."""
    marked: tuple[int, ...]
    """The numbers of the points that are drawn as diamonds in another colour."""
    mark: str
    """What the marked ones are, for the legend."""
    interval: str = "95 % interval"
    least: float = 0.0
    """The least height of the axis, in its unit."""

    @property
    def height(self) -> float:
        """Inches."""
        return 2.1 + LEGEND * (2 if self.marked else 1)

    def draw(self, figure: Figure) -> None:
        """Every interval ends in caps, so that it is seen whether it reaches another point's value."""
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes = figure.subplots()
        xs, ys = [x for x, _ in self.points], [y.value for _, y in self.points]
        ends = [[y.value - y.low for _, y in self.points], [y.high - y.value for _, y in self.points]]
        axes.plot(xs, ys, color=BLUE, linewidth=0.8, linestyle=":", marker="o", clip_on=False)
        axes.errorbar(xs, ys, ends, fmt="none", ecolor=SOFT, elinewidth=0.8, capsize=2, label=self.interval)
        if self.marked:
            xs, ys = [xs[number] for number in self.marked], [ys[number] for number in self.marked]
            name = shown(self.mark)
            axes.plot(xs, ys, "D", color=VERMILLION, markersize=5, zorder=4, clip_on=False, label=name)
        axes.margins(x=0.08)
        axes.set_ylim(limits(*axes.get_ylim(), self.least))
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 2.5, 5, 10)))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 2.5, 5, 10)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g} %"))
        axes.set_title(shown(self.y_label))
        axes.set_xlabel(shown(self.x_label))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=1)
