"""Horizontal bars with intervals and the single seeds. A leaf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.base import INK, LEGEND, PAPER, SOFT, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

PITCH, GAP, AROUND = 0.15, 0.07, 0.5
"""In inches: the distance between bars of a row, the gap between rows, and the height of the axis."""
NUM_COLUMNS = 3
"""The number of columns of the legend."""
INTERVAL: dict[str, Any] = {"color": INK, "linewidth": 1, "linestyle": "-", "marker": "|", "markersize": 4}
HALO: dict[str, Any] = {"color": PAPER, "linewidth": 2.2, "solid_capstyle": "butt"}
"""A light line behind an interval, so that the interval is visible on a bar of any colour."""
SEED: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 2.6, "mfc": PAPER, "mec": INK, "mew": 0.6}
CHANCE: dict[str, Any] = {"color": SOFT, "linewidth": 1, "linestyle": "--"}
BOX: dict[str, Any] = {"linestyle": "none", "marker": "s", "markersize": 6, "mec": SOFT}
THICK = 0.78
"""The thickness of a bar, as a share of PITCH."""
MAX_LABEL = 26


@dataclass(frozen=True)
class Bar:
    """A figure with its interval; NaN is not drawn. `seeds` are the figures that it is the median or mean of."""

    estimate: Estimate
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class BarRow:
    """The bars of one label: one for each of the plot's kinds."""

    label: str
    colour: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class BarGroup:
    """Rows below a heading."""

    rows: tuple[BarRow, ...]
    heading: str = ""


@dataclass(frozen=True)
class BarPlot:
    """Bars from zero, rows from top to bottom. Of two kinds the first has hollow bars, the second filled ones."""

    title: str
    x_label: str
    groups: tuple[BarGroup, ...]
    kinds: tuple[str, ...] = ("",)
    limits: tuple[float, float] | None = (0.0, 1.0)
    """The limits of the axis. None: it holds everything that is drawn, and zero."""
    chance: float | None = None
    interval: str = "95 % interval"
    form: str = "{:.3f}"
    """The format of a bar's value, which is written beside it."""

    @property
    def height(self) -> float:
        """In inches; grows with the number of bars."""
        return AROUND + self._depth + LEGEND * math.ceil(len(self._legend()) / NUM_COLUMNS)

    @property
    def _depth(self) -> float:
        headings = sum(bool(group.heading) for group in self.groups)
        rows = [row for group in self.groups for row in group.rows]
        return PITCH * (headings + sum(len(row.bars) for row in rows)) + GAP * (headings + len(rows))

    def draw(self, figure: Figure) -> None:
        """The y axis is in inches, downwards, so that the bars of all plots are equally thick."""
        axes = figure.subplots()
        axes.use_sticky_edges = False  # else an interval that just crosses zero would be cut off
        depth, ticks = 0.0, []
        for group in self.groups:
            if group.heading:
                depth += PITCH + GAP
                place = (0.0, depth - GAP)
                over = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}  # not through the axis of zero
                heading = shown(group.heading)
                axes.text(*place, heading, weight="bold", va="bottom", transform=axes.get_yaxis_transform(), bbox=over)
            for row in group.rows:
                height = PITCH * len(row.bars)
                ticks.append((depth + GAP / 2 + height / 2, shown(row.label, MAX_LABEL)))
                for number, bar in enumerate(row.bars):
                    is_filled = number == len(self.kinds) - 1
                    self._draw_bar(axes, depth + GAP / 2 + PITCH * (number + 0.5), bar, row.colour, is_filled)
                depth += height + GAP
        axes.set_ylim(self._depth, 0)
        axes.set_yticks([y for y, _ in ticks], [label for _, label in ticks], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.grid(False)
        axes.grid(axis="x")
        axes.set_xlabel(shown(self.x_label))
        axes.spines["bottom"].set_visible(False)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        if self.limits:
            axes.set_xlim(*self.limits)
        if self.chance is not None:
            axes.axvline(self.chance, **CHANCE)
        labels = self._legend()
        handles = [_handle(style) for style in labels.values()]
        figure.legend(handles, list(labels), loc="outside lower left", ncols=NUM_COLUMNS)

    def _draw_bar(self, axes: Axes, y: float, bar: Bar, colour: str, is_filled: bool) -> None:
        estimate = bar.estimate
        text = self.form.format(estimate.value) if math.isfinite(estimate.value) else "-"
        axes.text(1.04, y, text, va="center", transform=axes.get_yaxis_transform())
        if not math.isfinite(estimate.value):
            return
        face = colour if is_filled else "none"
        axes.barh(y, estimate.value, PITCH * THICK, facecolor=face, edgecolor=colour, linewidth=1)
        if math.isfinite(estimate.low) and math.isfinite(estimate.high):
            for style in (HALO, INTERVAL):
                axes.plot([estimate.low, estimate.high], [y, y], clip_on=False, **style)
        seeds = [seed for seed in bar.seeds if math.isfinite(seed)]
        if len(seeds) > 1:
            axes.plot(seeds, [y] * len(seeds), clip_on=False, **SEED)

    def _legend(self) -> dict[str, dict[str, Any]]:
        """The texts of the legend, each with its drawing style."""
        bars = [bar for group in self.groups for row in group.rows for bar in row.bars]
        named: dict[str, dict[str, Any]] = {}
        if len(self.kinds) > 1:
            named |= {kind: {**BOX, "mfc": face} for kind, face in zip(self.kinds, ("none", SOFT), strict=True)}
        if any(math.isfinite(bar.estimate.low) for bar in bars):
            named[self.interval] = INTERVAL
        if any(len(bar.seeds) > 1 for bar in bars):
            named["single seeds"] = SEED
        if self.chance is not None:
            named["chance"] = CHANCE
        return named


def _handle(style: dict[str, Any]) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], **style)
