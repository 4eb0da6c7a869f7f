"""The figures as one self-contained page, and its plots."""

from __future__ import annotations

import json
from typing import Any

import jinja2

from icm_annealer.benchmarks.gaps import GAP_NOTE, GapSummary
from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.bars import Bar, BarGroup, BarPlot, BarRow
from icm_annealer.plots.base import Plot
from icm_annealer.reporting.methods import colour_of
from icm_annealer.reporting.report import templates


def render_page(found: dict[str, Any]) -> str:
    """`found` is what figures.json holds. The page loads nothing from elsewhere."""
    shared = templates()
    own = jinja2.PackageLoader("icm_lab", "templates")
    loaders = jinja2.ChoiceLoader([own, *([shared.loader] if shared.loader else [])])
    page = shared.overlay(loader=loaders).get_template("reproduce.html")
    return page.render(found=found, plot_of=_plot_of, gap_of=_gap_of, note=GAP_NOTE)


def _gap_of(search: dict[str, Any]) -> str:
    """The search gap of a row of the table of searches, with its verdict; empty where U is unknown."""
    weighed = search["weighed"]
    return GapSummary.model_validate_json(json.dumps(weighed)).text() if weighed else ""


def figure_plots(found: dict[str, Any]) -> dict[str, Plot]:
    """A plot for each of the paper's figures, by the names of their files."""
    return {name: plot for figure in found["figures"] for name, plot in _plot_of(figure).items()}


def _plot_of(figure: dict[str, Any]) -> dict[str, Plot]:
    """For each task and model of a figure a group, with a bar for each method."""
    groups: dict[str, list[BarRow]] = {}
    for bar in figure["bars"]:
        method = Bar(Estimate.read(bar), tuple(bar["seeds"]))
        row = BarRow(bar["title"], colour_of(bar["method"]), (method,))
        groups.setdefault(f"{bar['task']}, {bar['model']}", []).append(row)
    bars = tuple(BarGroup(tuple(rows), heading) for heading, rows in groups.items())
    return {f"figure-{figure['figure']}": BarPlot(figure["title"], figure["measure"], bars)}
