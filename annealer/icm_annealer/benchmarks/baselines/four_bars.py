"""The usual figure: test accuracy by zero-shot, ICM, gold labels, and human ones (random ones where there are none)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from icm_annealer.benchmarks.baselines.methods import GOLD, HUMAN, ICM, RANDOM, ZERO_SHOT
from icm_annealer.benchmarks.baselines.summaries import MethodSummary
from icm_annealer.reporting.drawing import Box, Dot, Drawing, Shape, Stroke, Words

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BASE = 560, 360, 52, 12, 56, 296
BAR, GAP = 44.0, 8.0
INK, SOFT, LINE = "#0f172a", "#64748b", "#e2e8f0"
PALE = 0.55
"""How much white is in the bars of raw predictions."""


def four_bars(methods: Sequence[MethodSummary], title: str, chance: float) -> Drawing | None:
    """A pair of bars a method, raw and calibrated, with intervals and the single seeds; None if a method is missing."""
    by_name = {summary.method.name: summary for summary in methods}
    names = [ZERO_SHOT, HUMAN if HUMAN in by_name else RANDOM, ICM, GOLD]
    if not all(name in by_name for name in names):
        return None
    shapes: list[Shape] = [Words((LEFT, 24), title, 15, "start")]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        shapes.append(Stroke((LEFT, _height(share)), (WIDTH - RIGHT, _height(share)), LINE))
        shapes.append(Words((LEFT - 8, _height(share) + 4), f"{share:.2f}", 11, "end", SOFT))
    width = (WIDTH - LEFT - RIGHT) / len(names)
    for number, name in enumerate(names):
        summary, middle = by_name[name], LEFT + (number + 0.5) * width
        lefts = {"raw": middle - BAR - GAP / 2, "calibrated": middle + GAP / 2}
        for kind, left in lefts.items():
            colour = summary.method.colour if kind == "calibrated" else _paler(summary.method.colour)
            shapes += _bar(summary, kind, left, colour)
        shapes.append(Words((middle, BASE + 36), summary.method.title))
    shapes.append(Stroke((LEFT, _height(chance)), (WIDTH - RIGHT, _height(chance)), SOFT))
    shapes.append(Words((WIDTH - RIGHT, 24), "line: chance", 11, "end", SOFT))
    shapes.append(Words((LEFT, HEIGHT - 10), _told(methods), 11, "start", SOFT))
    return Drawing(WIDTH, HEIGHT, title, shapes)


def _bar(summary: MethodSummary, kind: str, left: float, colour: str) -> list[Shape]:
    estimate, middle = summary.figures[kind]["accuracy"], left + BAR / 2
    top = _height(estimate.value)
    shapes: list[Shape] = [Box(left, top, BAR, BASE - top, colour)]
    if not math.isnan(estimate.low):
        low, high = _height(estimate.low), _height(estimate.high)
        shapes.append(Stroke((middle, high), (middle, low), INK, 1.5))
        shapes += [Stroke((middle - 5, y), (middle + 5, y), INK, 1.5) for y in (low, high)]
    values = summary.seeds(kind)
    if len(values) > 1:
        step = (BAR - 12) / (len(values) - 1)
        shapes += [Dot((left + 6 + k * step, _height(value)), 2.5, "#ffffff", INK) for k, value in enumerate(values)]
    above = _height(max([estimate.value, *([] if math.isnan(estimate.high) else [estimate.high]), *values]))
    shapes.append(Words((middle, above - 6), f"{estimate.value:.3f}", 12))
    shapes.append(Words((middle, BASE + 16), kind, 11, colour=SOFT))
    return shapes


def _told(methods: Sequence[MethodSummary]) -> str:
    num = len(methods[0].rows)
    if num > 1:
        return f"Accuracy on unseen examples: medians of {num} seeds (dots) with 95 % intervals."
    return "Accuracy on unseen examples, one seed, with 95 % intervals."


def _height(share: float) -> float:
    return BASE - share * (BASE - TOP)


def _paler(colour: str) -> str:
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(part + PALE * (255 - part)):02x}" for part in parts)
