"""The report: one self-contained HTML page about a run, or about several side by side, and its plots."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from icm_annealer.data.rates import rates_text
from icm_annealer.evaluation.calibration import describe_calibration
from icm_annealer.plots.bars import Bar, BarGroup, BarPlot, BarRow
from icm_annealer.plots.base import LEAST_NATS, LEAST_SHARE, Plot
from icm_annealer.plots.curves import CurvePlot
from icm_annealer.plots.drawing import inline_svg
from icm_annealer.reporting.certainty_plots import at_least, certainty_counts, risk_curve, shown_risks
from icm_annealer.reporting.compare_runs import alike, differences
from icm_annealer.reporting.evaluation_table import FIGURES, format_figure
from icm_annealer.reporting.methods import TITLES, colour_of
from icm_annealer.reporting.rates_plot import rates_plot
from icm_annealer.reporting.run_report import RunReport, SearchReport
from icm_annealer.runs.schema.evaluation import KINDS
from icm_client.text.counts import counted

GENERATOR = b'<meta name="generator" content="icm">'
"""As the templates write it."""
HEAD_BYTES = 1024


@functools.cache
def templates() -> jinja2.Environment:
    """The package's pages, which escape every text and show plots by `plots.html`; compiled once in a process."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("icm_annealer.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(inline_svg=inline_svg, counted=counted)
    environment.filters.update(unbroken=unbroken, coded=coded)
    return environment


def unbroken(figure: str) -> Markup:
    """A figure whose interval in brackets is not broken over lines: it may stand below the value in a narrow table."""
    return Markup(re.sub(r"(?<= )\[[^]]*\]", r'<span class="unbroken">\g<0></span>', str(escape(figure))))


def coded(text: str) -> Markup:
    """A message in which commands stand between backticks, as they are written for a terminal."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def is_report(path: Path) -> bool:
    """Whether this program wrote the page, which can be made again from the runs' folders."""
    try:
        with path.open("rb") as file:
            return GENERATOR in file.read(HEAD_BYTES)
    except OSError:
        return False


def render_report(runs: Sequence[RunReport]) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    compared = [run.compared for run in runs]
    return (
        templates()
        .get_template("report.html")
        .render(
            runs=runs,
            names=_short_names([run.name for run in runs]),
            accuracy_plot=_accuracy_plot(runs),
            u_plot=_u_plot(runs),
            curve_plots=_curve_plots(runs),
            differences=differences(compared),
            alike=alike(compared),
            figures=FIGURES,
            titles=TITLES,
            format_figure=format_figure,
            shown_risks=shown_risks,
            at_least=at_least,
            rates_text=rates_text,
            describe_calibration=describe_calibration,
        )
    )


def report_plots(runs: Sequence[RunReport]) -> dict[str, Plot]:
    """All plots of the page, by the names of their files."""
    plots = _accuracy_plot(runs) | _u_plot(runs)
    for of_run in _curve_plots(runs):
        for of_search in of_run:
            plots |= of_search
    return plots


def _accuracy_plot(runs: Sequence[RunReport]) -> dict[str, Plot]:
    """Methods from top to bottom; of several runs a group for each method, with a row for each run."""
    bars = [(name, run.bars) for name, run in zip(_short_names([run.name for run in runs]), runs, strict=True)]
    methods = [method for method in TITLES if any(method in of_run for _, of_run in bars)]
    if not methods:
        return {}
    if len(runs) == 1:
        (_, of_run) = bars[0]
        groups = [BarGroup(tuple(BarRow(TITLES[name], colour_of(name), of_run[name]) for name in methods))]
    else:
        groups = [
            BarGroup(
                tuple(BarRow(name, colour_of(method), of_run[method]) for name, of_run in bars if method in of_run),
                TITLES[method],
            )
            for method in methods
        ]
    chances = {1 / len(run.first.task.labels) for run in runs}
    chance = chances.pop() if len(chances) == 1 else None
    intervals = {run.bars_interval for run in runs if run.bars}
    interval = intervals.pop() if len(intervals) == 1 else "interval"
    plot = BarPlot("Test accuracy", "test accuracy", tuple(groups), KINDS, chance=chance, interval=interval)
    return {"test-accuracy": plot}


def _u_plot(runs: Sequence[RunReport]) -> dict[str, Plot]:
    """U of several runs side by side."""
    names = _short_names([run.name for run in runs])
    rows = [
        BarRow(name, colour_of("icm"), (Bar(run.u, tuple(run.us)),))
        for name, run in zip(names, runs, strict=True)
        if run.us
    ]
    if len(runs) == 1 or not rows:
        return {}
    unit = ", ".join(dict.fromkeys(run.first.u_unit for run in runs))
    groups = (BarGroup(tuple(rows)),)
    return {"u": BarPlot("U", f"U ({unit})", groups, limits=None, interval="interval", form="{:+.3f}")}


def _curve_plots(runs: Sequence[RunReport]) -> list[list[dict[str, Plot]]]:
    """For each run and each of its searches what `_curves` gives."""
    found = []
    for number, run in enumerate(runs, 1):
        prefix = f"run-{number}-" if len(runs) > 1 else ""
        seeds = [
            f"seed-{search.record.header.settings.seed}-" if len(run.searches) > 1 else "" for search in run.searches
        ]
        found.append([_curves(prefix + seed, search) for seed, search in zip(seeds, run.searches, strict=True)])
    return found


def _curves(prefix: str, search: SearchReport) -> dict[str, Plot]:
    """U over each chain's passes and, where several were tried, over label rates; the labels' certainty; where gold is
    known, also the share of right labels over passes and that of wrong ones among the most certain."""
    plots: dict[str, Plot] = {}
    if search.u_curves:
        unit = f"U ({search.record.u_unit})"
        plots[f"{prefix}u-by-pass"] = CurvePlot("U over passes", "pass", unit, search.u_curves, least=LEAST_NATS)
    if search.tried_rates:
        plots[f"{prefix}u-by-rates"] = rates_plot(search.tried_rates, search.record.u_unit)
    if search.accuracy_curves:
        share, title = "share of right labels", "Share of right labels over passes"
        curves = search.accuracy_curves
        plots[f"{prefix}right-by-pass"] = CurvePlot(title, "pass", share, curves, (0.0, 1.0), LEAST_SHARE)
    if search.found:
        plots[f"{prefix}certainty"] = certainty_counts(search.found, search.record.task.label_names)
    if search.certainty:
        plots[f"{prefix}risk-by-coverage"] = risk_curve(search.certainty)
    return plots


def _short_names(names: Sequence[str]) -> list[str]:
    """The names less the folders that all have in common."""
    parts = [Path(name).resolve().parts for name in names]
    shared = 0
    while min(map(len, parts)) > shared + 1 and len({part[shared] for part in parts}) == 1:
        shared += 1
    return [str(Path(*part[shared:])) for part in parts]
