"""The results of `icm baselines` as a self-contained HTML page, and its plots."""

from __future__ import annotations

from collections.abc import Sequence

from icm_annealer.benchmarks.baselines.methods import GOLD, HUMAN, ICM, RANDOM, ZERO_SHOT
from icm_annealer.benchmarks.baselines.summaries import BaselinesTable, MethodSummary
from icm_annealer.benchmarks.baselines.tables import (
    format_estimate,
    format_gap,
    format_search_gap,
    format_tokens,
    format_u,
    heading,
    notes,
)
from icm_annealer.evaluation.intervals import seeds_interval
from icm_annealer.plots.bars import Bar, BarGroup, BarPlot, BarRow
from icm_annealer.plots.base import Plot
from icm_annealer.reporting.evaluation_table import FIGURES
from icm_annealer.reporting.methods import colour_of
from icm_annealer.reporting.report import templates
from icm_annealer.runs.schema.evaluation import KINDS


def render_page(table: BaselinesTable, methods: Sequence[MethodSummary], chance: float) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("baselines.html")
        .render(
            table=table,
            heading=heading(table),
            methods=methods,
            plots=baseline_plots(methods, chance),
            kinds=KINDS,
            figures={name: title for name, title in FIGURES.items() if name != "accuracy"},
            format_estimate=format_estimate,
            format_tokens=format_tokens,
            format_gap=format_gap,
            format_u=format_u,
            format_search_gap=format_search_gap,
            notes=notes(table, methods),
        )
    )


def baseline_plots(methods: Sequence[MethodSummary], chance: float) -> dict[str, Plot]:
    """By the names of their files: the accuracies of all methods, and those of the four that papers show, unless a
    method is missing or there is no other."""
    by_name = {summary.method.name: summary for summary in methods}
    usual = [by_name.get(name) for name in (ZERO_SHOT, HUMAN if HUMAN in by_name else RANDOM, ICM, GOLD)]
    four = [summary for summary in usual if summary]
    plots: dict[str, Plot] = {"test-accuracy": _accuracies(methods, chance)}
    if len(four) == len(usual) < len(methods):
        plots["four-methods"] = _accuracies(four, chance)
    return plots


def _accuracies(methods: Sequence[MethodSummary], chance: float) -> BarPlot:
    rows = [
        BarRow(
            summary.method.title,
            colour_of(summary.method.name),
            tuple(Bar(summary.figures[kind]["accuracy"], tuple(summary.seeds(kind))) for kind in KINDS),
        )
        for summary in methods
    ]
    interval = seeds_interval(max(len(summary.rows) for summary in methods))
    groups = (BarGroup(tuple(rows)),)
    return BarPlot("Test accuracy", "test accuracy", groups, KINDS, chance=chance, interval=interval)
