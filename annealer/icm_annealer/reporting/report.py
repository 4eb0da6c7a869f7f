"""The report: one self-contained HTML page about a run, or about several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from icm_annealer.reporting.bars import Bar, bar_rows
from icm_annealer.reporting.charts import COLOURS, line_chart
from icm_annealer.reporting.compare_runs import alike, differences
from icm_annealer.reporting.evaluation_table import FIGURES, format_figure
from icm_annealer.reporting.report_figures import METHODS
from icm_annealer.reporting.run_report import RunReport

GENERATOR = b'<meta name="generator" content="icm">'
"""As the templates write it."""
HEAD_BYTES = 1024


def templates() -> jinja2.Environment:
    """The package's pages, which escape every text and know how charts are laid out."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("icm_annealer.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(line_chart=line_chart, bar_rows=bar_rows)
    return environment


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
            by_method=_by_method(runs),
            u_bars=[Bar(n, c, run.u, _dots(run.us)) for n, c, run in _coloured(runs) if run.us],
            differences=differences(compared),
            alike=alike(compared),
            figures=FIGURES,
            format_figure=format_figure,
        )
    )


def _by_method(runs: Sequence[RunReport]) -> list[tuple[str, list[Bar]]]:
    """For each method that some run was tested with, a bar a run."""
    groups = []
    for name, title, _ in METHODS:
        bars = [
            Bar(short, colour, run.bars[name].estimate, run.bars[name].dots)
            for short, colour, run in _coloured(runs)
            if name in run.bars
        ]
        groups += [(title, bars)] if bars else []
    return groups


def _coloured(runs: Sequence[RunReport]) -> list[tuple[str, str, RunReport]]:
    names = _short_names([run.name for run in runs])
    return [(name, COLOURS[k % len(COLOURS)], run) for k, (name, run) in enumerate(zip(names, runs, strict=True))]


def _short_names(names: Sequence[str]) -> list[str]:
    """The names less the folders that all have in common."""
    parts = [Path(name).resolve().parts for name in names]
    shared = 0
    while min(map(len, parts)) > shared + 1 and len({part[shared] for part in parts}) == 1:
        shared += 1
    return [str(Path(*part[shared:])) for part in parts]


def _dots(values: Sequence[float]) -> list[float]:
    return list(values) if len(values) > 1 else []
