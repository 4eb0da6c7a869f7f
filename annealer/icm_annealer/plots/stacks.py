"""Horizontal bars that are stacked from ordered parts. A leaf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icm_annealer.plots.base import BLUE, INK, LEGEND, shown

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

PITCH, THICK, AROUND = 0.22, 0.15, 0.5
"""Inches: from bar to bar, a bar, and what the axis takes."""
NUM_COLUMNS = 3
"""Of the legend."""
MAX_LABEL = 26
OPACITIES = (0.9, 0.04)
"""Of the first part and of the last; those between are evenly spaced."""


@dataclass(frozen=True)
class Stack:
    """The numbers that stand at one label, one for each part of the plot."""

    label: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class StackPlot:
    """Whole numbers by row, from top to bottom, and by part: the first part is the most solid and the leftmost."""

    title: str
    x_label: str
    parts: tuple[str, ...]
    """At least two."""
    stacks: tuple[Stack, ...]

    @property
    def height(self) -> float:
        """Inches, which grow with the bars."""
        return AROUND + PITCH * len(self.stacks) + LEGEND * math.ceil(len(self.parts) / NUM_COLUMNS)

    def draw(self, figure: Figure) -> None:
        """Each bar's sum is written beside it."""
        from matplotlib.colors import to_rgba
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        first, last = OPACITIES
        step = (last - first) / (len(self.parts) - 1)
        handles: list[Artist] = []
        for number in range(len(self.parts)):
            bars = axes.barh(
                range(len(self.stacks)),
                [stack.numbers[number] for stack in self.stacks],
                THICK / PITCH,
                left=[sum(stack.numbers[:number]) for stack in self.stacks],
                facecolor=to_rgba(BLUE, first + step * number),
                edgecolor=BLUE,
                linewidth=0.8,
                clip_on=False,
            )
            handles.append(bars[0])
        for place, stack in enumerate(self.stacks):
            axes.text(1.04, place, f"{sum(stack.numbers):,}", va="center", transform=axes.get_yaxis_transform())
        axes.set_ylim(len(self.stacks) - 0.5, -0.5)
        axes.set_xlim(0, max(1, *(sum(stack.numbers) for stack in self.stacks)))
        labels = [shown(stack.label, MAX_LABEL) for stack in self.stacks]
        axes.set_yticks(range(len(self.stacks)), labels, color=INK)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
        axes.grid(False)
        axes.grid(axis="x")
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(shown(self.x_label))
        figure.legend(handles, [shown(part) for part in self.parts], loc="outside lower left", ncols=NUM_COLUMNS)
