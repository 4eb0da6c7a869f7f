"""Clouds of points, one for each seed, with their medians: the result of a search over its cost. A leaf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.base import LEGEND, MARKERS, PAPER, SERIES, SOFT, limits, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MAX_LABEL = 24


@dataclass(frozen=True)
class Cloud:
    """One point for each seed, and the median with its interval in both directions."""

    label: str
    points: tuple[tuple[float, float], ...]
    x: Estimate
    y: Estimate


@dataclass(frozen=True)
class ReferenceLine:
    """A horizontal line over the whole width, with its interval."""

    label: str
    y: Estimate


@dataclass(frozen=True)
class CloudPlot:
    """Clouds over positive numbers; the axis is logarithmic if these differ by more than a factor of 10."""

    title: str
    x_label: str
    y_label: str
    clouds: tuple[Cloud, ...]
    levels: tuple[ReferenceLine, ...] = ()
    bounds: tuple[float, float] | None = None
    """The range of possible values. The axis does not extend beyond it."""
    least: float = 0.0
    """The least height of the axis, in its unit."""

    @property
    def height(self) -> float:
        """Inches, with two columns of legend."""
        return 2.3 + LEGEND * math.ceil(len(self._labels) / 2)

    def draw(self, figure: Figure) -> None:
        """Small dots are seeds, large markers medians."""
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        handles: list[Line2D] = []
        for number, cloud in enumerate(self.clouds):
            colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
            xs, ys = [x for x, _ in cloud.points], [y for _, y in cloud.points]
            if len(xs) > 1:
                dots: dict[str, Any] = {"linestyle": "none", "markersize": 2.6, "alpha": 0.5, "mew": 0}
                axes.plot(xs, ys, marker=marker, color=colour, clip_on=False, **dots)
            axes.plot([cloud.x.low, cloud.x.high], [cloud.y.value] * 2, color=colour, linewidth=1)
            axes.plot([cloud.x.value] * 2, [cloud.y.low, cloud.y.high], color=colour, linewidth=1)
            place = ([cloud.x.value], [cloud.y.value])
            style: dict[str, Any] = {"linestyle": "none", "mfc": colour, "mec": PAPER, "mew": 0.7, "zorder": 4}
            handles += axes.plot(*place, marker=marker, markersize=6, clip_on=False, **style)
        for level in self.levels:
            handles.append(axes.axhline(level.y.value, color=SOFT, linewidth=1, linestyle="--"))
            if math.isfinite(level.y.low) and math.isfinite(level.y.high):
                axes.axhspan(level.y.low, level.y.high, color=SOFT, alpha=0.12, linewidth=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        axes.set_ylim(limits(*axes.get_ylim(), self.least, self.bounds))
        axes.set_title(shown(self.y_label))
        axes.set_xlabel(shown(self.x_label) + (" (log scale)" if self._scale_x(axes) else ""))
        labels = [shown(label, MAX_LABEL) for label in self._labels]
        figure.legend(handles, labels, loc="outside lower left", ncols=2)

    @property
    def _labels(self) -> list[str]:
        return [*(cloud.label for cloud in self.clouds), *(level.label for level in self.levels)]

    def _scale_x(self, axes: Axes) -> bool:
        """Whether the axis is logarithmic."""
        from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

        xs = [x for cloud in self.clouds for x in (cloud.x.value, *(x for x, _ in cloud.points))]
        decades = math.log10(max(xs) / min(xs)) if xs and min(xs) > 0 else 0.0
        if decades > 1:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades <= 2 else (1,)))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
        return decades > 1


def short(value: float) -> str:
    """`20k`, `1.5M`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
