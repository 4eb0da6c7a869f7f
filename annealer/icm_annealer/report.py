"""The report: one self-contained HTML page. Gold is joined here, after the search, for the curves that need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from icm_annealer.charts import Line, bar_chart, line_chart
from icm_annealer.labelling import Labelling
from icm_annealer.task import Task

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


def templates() -> jinja2.Environment:
    """The package's pages, which escape every text and know how charts are laid out."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("icm_annealer", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(line_chart=line_chart, bar_chart=bar_chart)
    return environment


def render_report(task: Task, metrics: dict[str, Any], seeds: Sequence[SeedReport]) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("report.html")
        .render(
            task=task, metrics=metrics, seeds=seeds, bars=[bar for bar in BARS if bar[0] in metrics["test_accuracy"]]
        )
    )
