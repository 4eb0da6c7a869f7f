"""The sweep's table on a terminal and as a page."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.table import Table

from icm_annealer.console.progress import duration
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.bars import Bar, BarGroup, BarPlot, BarRow
from icm_annealer.plots.base import Plot
from icm_annealer.reporting.methods import colour_of
from icm_annealer.reporting.report import templates
from icm_annealer.sweeping.table import GroupFigures, SweepTable
from icm_client.text.counts import counted

NOTES = (
    "Medians over the seeds with 95 % bootstrap intervals, of fewer than five seeds from the least to the greatest; of "
    "one seed, labels right with the 95 % interval over its examples, and U with its standard error.",
    "labels right: the share, where there are gold labels, without known labels. agreement: the share of examples with "
    "the same label, over pairs of seeds, with the least and the greatest. tokens, time: of one run, which shared "
    "its scorer with others.",
    "U is comparable between runs of one task with the same data, model, plan and measure.",
)
MAX_PLOTTED = 60
"""The most groups of a plot."""
MAX_REASON = 300
"""Characters shown of why a run failed."""


def print_table(console: Terminal, table: SweepTable) -> None:
    """The table, then the runs that are not done, each with its reason."""
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in ("runs of", "verdicts") else "right", overflow="fold")
    for group in table.groups:
        shown.add_row(*(cell.replace(" [", "\n[") for cell in cells(group).values()))
    console.print(shown)
    for run in table.failed:
        console.say(f"{run.name} {run.ended}: {run.reason[:MAX_REASON]}")


def cells(group: GroupFigures) -> dict[str, str]:
    """The texts of a line of the table, by the titles of their columns."""
    return {title: of_group(group) for title, of_group in COLUMNS.items()}


def render_page(table: SweepTable) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    num_runs = sum(group.num_runs for group in table.groups)
    return (
        templates()
        .get_template("sweep.html")
        .render(
            table=table,
            heading=f"{counted(num_runs, 'run')}, {num_runs - len(table.failed):,} done",
            columns=COLUMNS,
            plots=sweep_plots(table),
            notes=NOTES,
        )
    )


def sweep_plots(table: SweepTable) -> dict[str, Plot]:
    """Labels right by task, and U by task, with each seed's; only of groups that have them. None of a larger sweep than
    a plot can show."""
    plots: dict[str, Plot] = {}
    if len(table.groups) > MAX_PLOTTED:
        return plots
    right = _groups(table, lambda g: g.labels_right, lambda g: [r.labels_right.value for r in g.runs if r.labels_right])
    if right:
        plots["labels-right"] = BarPlot("Labels right", "share of right labels", right, interval="interval")
    us = _groups(table, lambda g: g.u, lambda g: [run.u for run in g.runs if run.u is not None])
    if us:
        units = ", ".join(dict.fromkeys(group.u_unit for group in table.groups if group.u_unit))
        plots["u"] = BarPlot("U", f"U ({units})", us, limits=None, interval="interval", form="{:+.3f}")
    return plots


def _groups(
    table: SweepTable,
    estimate: Callable[[GroupFigures], Estimate | None],
    seeds: Callable[[GroupFigures], list[float]],
) -> tuple[BarGroup, ...]:
    rows: dict[str, list[BarRow]] = {}
    for group in table.groups:
        if (found := estimate(group)) is not None:
            bar = Bar(found, tuple(seeds(group)) if group.num_done > 1 else ())
            rows.setdefault(group.task, []).append(
                BarRow(group.name.removeprefix(f"{group.task}."), colour_of("icm"), (bar,))
            )
    return tuple(BarGroup(tuple(of_task), task) for task, of_task in rows.items())


def _figure(estimate: Estimate | None, form: str = "{:.3f}") -> str:
    """`0.965 [0.940, 0.981]`; empty if it is unknown."""
    if estimate is None or math.isnan(estimate.value):
        return ""
    value = form.format(estimate.value)
    return value if math.isnan(estimate.low) else f"{value} [{form.format(estimate.low)}, {form.format(estimate.high)}]"


def _seconds(estimate: Estimate | None) -> str:
    return "" if estimate is None else duration(estimate.value)


def _verdicts(group: GroupFigures) -> str:
    """`found 3, weakly coherent 2`."""
    return ", ".join(word if group.num_done == 1 else f"{word} {num}" for word, num in group.verdicts.items())


COLUMNS: dict[str, Callable[[GroupFigures], str]] = {
    "runs of": lambda group: group.name,
    "done": lambda group: f"{group.num_done}/{group.num_runs}",
    "labels right": lambda group: _figure(group.labels_right),
    "agreement": lambda group: _figure(group.agreement),
    "U": lambda group: _figure(group.u, "{:+.3f}"),
    "tokens": lambda group: "" if group.tokens is None else f"{group.tokens.value:,.0f}",
    "time": lambda group: _seconds(group.seconds),
    "verdicts": _verdicts,
}
"""The table's columns: title -> the cell of a group."""
