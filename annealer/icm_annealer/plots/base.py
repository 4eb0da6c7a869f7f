"""The interface of plots (title, size, drawing), and their common colours. A leaf.

matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from icm_client.text.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 3.5
"""Inches: one column of a paper."""
LEGEND = 0.16
"""The height of a line of a legend, in inches."""
INK, SOFT, LINE, PAPER = "#0f172a", "#475569", "#e2e8f0", "#ffffff"
"""The colours of text and intervals, of axes, of the grid, and of the background. A page replaces them by its own."""
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
"""Okabe and Ito's colours, which people with any colour vision can tell apart; without yellow, which is too pale."""
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, SOFT)
MARKERS, DASHES = "osD^vPX*", ("-", "--", "-.", ":")
"""Markers and line styles of the series, repeated when they run out; with seven colours, 56 series look different."""
LEAST_NATS, LEAST_SHARE = 0.05, 0.2
"""The least heights of axes of U and of shares: what hardly differs is not to look as if it did."""
_NOT_IN_XML = {0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}


class Plot(Protocol):
    """A plot as data. It is hashable, and equal plots are drawn alike, byte for byte."""

    @property
    def title(self) -> str:
        """The text alternative of the plot, for screen readers."""

    @property
    def height(self) -> float:
        """Inches."""

    def draw(self, figure: Figure) -> None:
        """Draws into an empty figure of WIDTH and this height."""


def limits(low: float, high: float, least: float, bounds: tuple[float, float] | None = None) -> tuple[float, float]:
    """An axis's limits, made at least `least` apart around their middle, and kept within `bounds`."""
    missing = max(0.0, least - (high - low)) / 2
    low, high = low - missing, high + missing
    if bounds is None:
        return low, high
    low, high = (low - max(0.0, high - bounds[1]), high + max(0.0, bounds[0] - low)) if missing else (low, high)
    return max(low, bounds[0]), min(high, bounds[1])


def shown(text: str, limit: int = 60) -> str:
    """An untrusted text for a plot: in one line, without control characters, and with its middle left out if it is
    longer than `limit`."""
    text = visible(text).translate(_NOT_IN_XML)
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"
