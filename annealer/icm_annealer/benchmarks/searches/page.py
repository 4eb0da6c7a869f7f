"""The bench's result as one self-contained HTML page: U and accuracies over computed tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icm_annealer.benchmarks.searches.plan import GOLD
from icm_annealer.benchmarks.searches.summaries import SearchSummary, TaskComparison
from icm_annealer.benchmarks.searches.tables import notes_for
from icm_annealer.reporting.charts import Line
from icm_annealer.reporting.report import templates

CHARTS = (
    ("U (nats per example)", "u", None),
    ("share of right labels", "label_accuracy", (0.0, 1.0)),
    ("test accuracy, calibrated", "test_accuracy_calibrated", (0.0, 1.0)),
)
COLUMNS = (
    ("tokens", "tokens", "{:,.0f}"),
    ("x blocks", "ratio", "{:.2f}"),
    ("by plan fixed", "fixed_tokens", "{:,.0f}"),
    ("x blocks", "fixed_ratio", "{:.1f}"),
    ("… each cold", "fixed_tokens_cold", "{:,.0f}"),
    ("x blocks", "fixed_cold_ratio", "{:.1f}"),
    ("… a label", "fixed_cold_label_ratio", "{:.1f}"),
    ("U", "u", "{:+.3f}"),
    ("labels right", "label_accuracy", "{:.3f}"),
    ("test", "test_accuracy", "{:.3f}"),
    ("test, calibrated", "test_accuracy_calibrated", "{:.3f}"),
)


def render_page(comparisons: Sequence[TaskComparison], model: dict[str, Any]) -> str:
    """The page as HTML; nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("search_bench.html")
        .render(
            comparisons=comparisons,
            model=model,
            charts=CHARTS,
            columns=COLUMNS,
            lines=_lines,
            levels=_levels,
            notes=notes_for(comparisons),
        )
    )


def _lines(comparison: TaskComparison, name: str) -> list[Line]:
    """A cloud of seeds for each search; the published one has a second, where its plan would put it."""
    clouds = []
    for summary in comparison.searches:
        if "tokens" in summary.figures:
            clouds.append(_cloud(summary, name, summary.search, "tokens"))
        # Asked by `fixed`, it stands there already.
        if "fixed_tokens" in summary.figures and summary.figures["fixed_tokens"] != summary.figures["tokens"]:
            clouds.append(_cloud(summary, name, f"{summary.search}, plan fixed", "fixed_tokens"))
    return clouds


def _cloud(summary: SearchSummary, name: str, title: str, tokens: str) -> Line:
    points = [(row.whole(tokens), float(getattr(row, name))) for row in summary.rows]
    middle = summary.figures[tokens].value, summary.figures[name].value
    return Line(title, points, is_joined=False, middle=middle)


def _levels(comparison: TaskComparison, name: str) -> list[tuple[str, float]]:
    """Gold labels cost no search: a height, not a point."""
    return [("gold labels", summary.figures[name].value) for summary in comparison.searches if summary.search == GOLD]
