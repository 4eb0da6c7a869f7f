"""The bench's result as one self-contained HTML page, and its plots: U and accuracies over computed tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from icm_annealer.benchmarks.searches.plan import GOLD
from icm_annealer.benchmarks.searches.summaries import SearchSummary, TaskComparison
from icm_annealer.benchmarks.searches.tables import COSTS, FOUND, cost_rows, found_rows, notes_for
from icm_annealer.benchmarks.weighing import UNIT
from icm_annealer.plots.base import LEAST_NATS, LEAST_SHARE, Plot
from icm_annealer.plots.clouds import Cloud, CloudPlot, ReferenceLine
from icm_annealer.reporting.methods import TITLES
from icm_annealer.reporting.report import templates


class Shown(NamedTuple):
    """A figure that is plotted over tokens."""

    name: str
    """As rows hold it."""
    title: str
    least: float = LEAST_SHARE
    bounds: tuple[float, float] | None = (0.0, 1.0)


SHOWN = (
    Shown("u", f"U ({UNIT})", LEAST_NATS, None),
    Shown("label_accuracy", "share of right labels"),
    Shown("test_accuracy_calibrated", "test accuracy, calibrated"),
)


def render_page(comparisons: Sequence[TaskComparison], model: dict[str, Any]) -> str:
    """The page as HTML; nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("search_bench.html")
        .render(
            comparisons=comparisons,
            model=model,
            plots_of=_plots_of,
            costs=COSTS,
            cost_rows=cost_rows,
            found=FOUND,
            found_rows=found_rows,
            notes=notes_for(comparisons),
        )
    )


def bench_plots(comparisons: Sequence[TaskComparison]) -> dict[str, Plot]:
    """All plots of the page, by the names of their files."""
    return {name: plot for comparison in comparisons for name, plot in _plots_of(comparison).items()}


def _plots_of(comparison: TaskComparison) -> dict[str, Plot]:
    """Those of one task and size; a figure that no search has is not shown."""
    plots: dict[str, Plot] = {}
    for shown in SHOWN:
        clouds = tuple(cloud for summary in comparison.searches for cloud in _clouds(summary, shown.name))
        levels = tuple(
            ReferenceLine(TITLES[GOLD], summary.figures[shown.name])
            for summary in comparison.searches
            if summary.search == GOLD
        )
        if clouds:
            name = f"{comparison.task}-{comparison.num}-{shown.name.replace('_', '-')}"
            title = f"{shown.title} over computed tokens"
            plots[name] = CloudPlot(title, "computed tokens", shown.title, clouds, levels, shown.bounds, shown.least)
    return plots


def _clouds(summary: SearchSummary, name: str) -> Iterator[Cloud]:
    """A search's seeds; the published search has a second cloud, where its own plan would put it."""
    figures = summary.figures
    if "tokens" in figures:
        yield _cloud(summary, name, summary.search, "tokens")
    # Asked by `fixed`, it stands there already.
    if "fixed_tokens" in figures and figures["fixed_tokens"] != figures["tokens"]:
        yield _cloud(summary, name, f"{summary.search}, plan fixed", "fixed_tokens")


def _cloud(summary: SearchSummary, name: str, title: str, tokens: str) -> Cloud:
    points = tuple((row.whole(tokens), float(getattr(row, name))) for row in summary.rows)
    return Cloud(title, points, summary.figures[tokens], summary.figures[name])
