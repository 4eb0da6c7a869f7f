"""The report: one self-contained HTML page. Gold is joined here, after the search, for the curves that need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from icm_annealer.labelling import Labelling
from icm_annealer.task import Task

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 260, 56, 34, 14, 14
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#65a30d", "#be185d")
BARS = (
    ("zero_shot", "zero-shot", "#94a3b8"),
    ("zero_shot_calibrated", "zero-shot, calibrated", "#64748b"),
    ("random_few_shot", "random", "#d6b48a"),
    ("random_few_shot_calibrated", "random, calibrated", "#b08d5b"),
    ("icm", "ICM", "#2563eb"),
    ("icm_calibrated", "ICM, calibrated", "#1e40af"),
    ("gold", "gold", "#eab308"),
    ("gold_calibrated", "gold, calibrated", "#a16207"),
)


@dataclass(frozen=True)
class Line:
    """One curve of a chart."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class SeedReport:
    """What the page shows of one seed."""

    metrics: dict[str, Any]
    u_lines: list[Line]
    accuracy_lines: list[Line]
    least_certain: list[dict[str, Any]]

    @classmethod
    def of(cls, labelling: Labelling, metrics: dict[str, Any], gold: dict[str, str]) -> SeedReport:
        """Curves over each chain's passes, and the ten least certain labels first."""
        run = labelling.run
        names = run.task.label_names
        wanted = np.array([names.index(gold[e.id]) if e.id in gold else -1 for e in run.examples])
        known = wanted >= 0
        u_lines: dict[str, list[tuple[float, float]]] = {}
        accuracy_lines: dict[str, list[tuple[float, float]]] = {}
        for purpose, labels, u in labelling.trace:
            if u is None or not purpose.startswith(("chain", "official")):
                continue
            points = u_lines.setdefault(purpose, [])
            points.append((len(points) + 1, u))
            judged = known & (labels >= 0)
            if judged.any():
                right = float((labels[judged] == wanted[judged]).mean())
                accuracy_lines.setdefault(purpose, []).append((len(points), right))
        rows = run.rows()
        for row, example in zip(rows, run.examples, strict=True):
            row["text"], row["gold"] = example.text, gold.get(example.id)
        return cls(
            metrics,
            [Line(name, points) for name, points in u_lines.items()],
            [Line(name, points) for name, points in accuracy_lines.items()],
            sorted(rows, key=lambda row: row["margin"])[:10],
        )


def render_report(task: Task, metrics: dict[str, Any], seeds: Sequence[SeedReport]) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("icm_annealer", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(line_chart=line_chart, bar_chart=bar_chart)
    return environment.get_template("report.html").render(
        task=task, metrics=metrics, seeds=seeds, bars=[bar for bar in BARS if bar[0] in metrics["test_accuracy"]]
    )


def line_chart(
    lines: Sequence[Line], y_label: str, low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    """Where everything of a line chart stands, in SVG pixels."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    if not xs:
        return {}
    bottom = min(ys) if low is None else low
    top = max(ys) if high is None else high
    margin = 0.06 * (top - bottom or 1.0)
    bottom, top = (bottom - margin if low is None else low), (top + margin if high is None else high)
    right = max(max(xs), 2)

    def place(x: float, y: float) -> tuple[float, float]:
        share_x = (x - 1) / (right - 1)
        share_y = (y - bottom) / (top - bottom)
        return (
            round(LEFT + share_x * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - share_y * (HEIGHT - BOTTOM - TOP), 1),
        )

    y_ticks = [(place(1, y)[1], f"{y:.2f}") for y in np.linspace(bottom, top, 5)]
    step = max(1, round(right / 8))
    x_ticks = [(place(x, bottom)[0], str(x)) for x in range(1, int(right) + 1, step)]
    curves = [
        {"name": line.name, "colour": COLOURS[k % len(COLOURS)], "points": [place(x, y) for x, y in line.points]}
        for k, line in enumerate(lines)
    ]
    return {"curves": curves, "y_ticks": y_ticks, "x_ticks": x_ticks, "y_label": y_label, **_size()}


def bar_chart(bars: Sequence[tuple[str, str, str]], metrics: dict[str, Any]) -> dict[str, Any]:
    """Where everything of the accuracy bars stands, in SVG pixels; the axis runs from 0 to 1."""
    width = (WIDTH - LEFT - RIGHT) / len(bars)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP), 1)

    placed = []
    for k, (name, title, colour) in enumerate(bars):
        low, high = metrics["test_accuracy_interval"][name]
        value = metrics["test_accuracy"][name]
        placed.append(
            {
                "x": round(LEFT + (k + 0.15) * width, 1),
                "width": round(0.7 * width, 1),
                "y": y(value),
                "height": round(HEIGHT - BOTTOM - y(value), 1),
                "middle": round(LEFT + (k + 0.5) * width, 1),
                "low": y(low),
                "high": y(high),
                "colour": colour,
                "title": title,
                "value": f"{value:.2f}",
                "dots": [y(seed["test_accuracy"][name]) for seed in metrics["seeds"] if len(metrics["seeds"]) > 1],
            }
        )
    return {"bars": placed, "y_ticks": [(y(v), f"{v:.2f}") for v in (0, 0.25, 0.5, 0.75, 1)], **_size()}


def _size() -> dict[str, int]:
    return {"width": WIDTH, "height": HEIGHT, "left": LEFT, "bottom": HEIGHT - BOTTOM, "right": WIDTH - RIGHT}
