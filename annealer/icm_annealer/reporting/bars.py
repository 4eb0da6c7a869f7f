"""Bars as geometry: where each begins and ends, and its interval and dots, in percent of the width they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from icm_annealer.evaluation.intervals import Estimate

NUM_TICKS = 5


@dataclass(frozen=True)
class Bar:
    """One figure with its interval; NaN bounds are not drawn. `dots` are the single seeds'."""

    title: str
    colour: str
    estimate: Estimate
    dots: list[float] = field(default_factory=list)


def bar_rows(bars: Sequence[Bar], low: float | None = 0.0, high: float | None = 1.0) -> dict[str, Any]:
    """Rows and ticks. Without `low` and `high` the axis holds all that is drawn, and zero."""
    ends = [v for bar in bars for v in (bar.estimate.value, bar.estimate.low, bar.estimate.high, *bar.dots)]
    known = [0.0, *(v for v in ends if not np.isnan(v))]
    first, last = (min(known) if low is None else low), (max(known) if high is None else high)
    last = last if last > first else first + 1.0

    def place(value: float) -> float:
        return round(100 * min(max((value - first) / (last - first), 0.0), 1.0), 2)

    zero = place(0.0)
    rows = []
    for bar in bars:
        value, bounds = place(bar.estimate.value), (bar.estimate.low, bar.estimate.high)
        begin, end = (None, None) if np.isnan(bounds).any() else map(place, bounds)
        rows.append(
            {
                "title": bar.title,
                "colour": bar.colour,
                "left": min(zero, value),
                "width": round(abs(value - zero), 2),
                "interval": None if begin is None or end is None else (begin, round(end - begin, 2)),
                "dots": [place(dot) for dot in bar.dots],
                "estimate": bar.estimate,
            }
        )
    ticks = [(place(tick), f"{round(tick, 2) + 0.0:.2f}") for tick in np.linspace(first, last, NUM_TICKS)]
    return {"rows": rows, "ticks": ticks}
