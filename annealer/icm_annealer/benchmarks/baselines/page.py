"""What `icm baselines` found, as one self-contained HTML page, and its plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icm_annealer.benchmarks.baselines.methods import GOLD, HUMAN, ICM, RANDOM, ZERO_SHOT
from icm_annealer.benchmarks.baselines.standings import Standing
from icm_annealer.benchmarks.baselines.tables import NOTES, gap_told, heading, tokens, told
from icm_annealer.evaluation.test_set import KINDS
from icm_annealer.plots.bars import Bar, BarGroup, BarPlot, BarRow
from icm_annealer.plots.base import Plot
from icm_annealer.reporting.evaluation_table import FIGURES
from icm_annealer.reporting.methods import colour_of
from icm_annealer.reporting.report import templates


def render_page(table: dict[str, Any], standings: Sequence[Standing], chance: float) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("baselines.html")
        .render(
            table=table,
            heading=heading(table),
            standings=standings,
            plots=baseline_plots(standings, chance),
            kinds=KINDS,
            figures={name: title for name, title in FIGURES.items() if name != "accuracy"},
            told=told,
            tokens=tokens,
            gap_told=gap_told,
            notes=NOTES,
        )
    )


def baseline_plots(standings: Sequence[Standing], chance: float) -> dict[str, Plot]:
    """By the names of their files: the accuracies of all methods, and those of the four that papers show, unless a
    method is missing or there is no other."""
    by_name = {standing.method.name: standing for standing in standings}
    usual = [by_name.get(name) for name in (ZERO_SHOT, HUMAN if HUMAN in by_name else RANDOM, ICM, GOLD)]
    four = [standing for standing in usual if standing]
    plots: dict[str, Plot] = {"test-accuracy": _accuracies(standings, chance)}
    if len(four) == len(usual) < len(standings):
        plots["four-methods"] = _accuracies(four, chance)
    return plots


def _accuracies(standings: Sequence[Standing], chance: float) -> BarPlot:
    rows = [
        BarRow(
            standing.method.title,
            colour_of(standing.method.name),
            tuple(Bar(standing.figures[kind]["accuracy"], tuple(standing.seeds(kind))) for kind in KINDS),
        )
        for standing in standings
    ]
    return BarPlot("Test accuracy", "test accuracy", (BarGroup(tuple(rows)),), KINDS, chance=chance)
