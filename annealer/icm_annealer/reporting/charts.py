"""Charts as geometry: where lines and ticks stand, in SVG pixels. The templates draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 260, 56, 34, 14, 14
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#65a30d", "#be185d", "#475569", "#a16207")


@dataclass(frozen=True)
class Line:
    """One curve of a chart."""

    name: str
    points: list[tuple[float, float]]
    is_joined: bool = True
    middle: tuple[float, float] | None = None
    """A point that stands out."""


def line_chart(
    lines: Sequence[Line],
    y_label: str,
    *,
    log_x: bool = False,
    levels: Sequence[tuple[str, float]] = (),
    limits: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Where everything of a line chart stands, in SVG pixels. The x axis begins at 1, or if it is logarithmic, where
    the points do; `levels` are heights that are marked over the whole width. No value lies outside `limits`, so the
    axis does not either."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + [y for _, y in levels]
    if not xs:
        return {}
    margin = 0.06 * (max(ys) - min(ys) or 1.0)
    lowest, highest = limits or (-math.inf, math.inf)
    bottom, top = max(min(ys) - margin, lowest), min(max(ys) + margin, highest)
    first, last = (0.8 * min(xs), 1.25 * max(xs)) if log_x else (1.0, max(*xs, 2.0))
    scale = math.log if log_x else float

    def place(x: float, y: float) -> tuple[float, float]:
        share_x = (scale(x) - scale(first)) / (scale(last) - scale(first))
        share_y = (y - bottom) / (top - bottom)
        return (
            round(LEFT + share_x * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - share_y * (HEIGHT - BOTTOM - TOP), 1),
        )

    step = max(1, round(last / 8))
    ticks = _log_ticks(first, last) if log_x else [(float(x), str(x)) for x in range(1, int(last) + 1, step)]
    y_ticks = np.linspace(bottom, top, 5)
    step_y = y_ticks[1] - y_ticks[0]
    digits = max(2, 1 - math.floor(math.log10(step_y))) if 0 < step_y < math.inf else 2  # no two are written alike
    curves = [
        {
            "name": line.name,
            "colour": COLOURS[k % len(COLOURS)],
            "points": [place(x, y) for x, y in line.points],
            "is_joined": line.is_joined,
            "middle": place(*line.middle) if line.middle else None,
        }
        for k, line in enumerate(lines)
    ]
    return {
        "curves": curves,
        "y_ticks": [(place(first, y)[1], f"{y:.{digits}f}") for y in y_ticks],
        "x_ticks": [(place(x, bottom)[0], text) for x, text in ticks],
        "levels": [(name, place(first, y)[1]) for name, y in levels],
        "y_label": y_label,
        **_size(),
    }


def _log_ticks(first: float, last: float) -> list[tuple[float, str]]:
    """1, 2 and 5 times powers of ten between `first` and `last`, written short."""
    exponents = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    ticks = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    return [(tick, _short(tick)) for tick in ticks if first <= tick <= last]


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _size() -> dict[str, int]:
    return {"width": WIDTH, "height": HEIGHT, "left": LEFT, "bottom": HEIGHT - BOTTOM, "right": WIDTH - RIGHT}
