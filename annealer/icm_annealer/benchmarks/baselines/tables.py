"""The result of `icm baselines` in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from icm_annealer.benchmarks.baselines.summaries import BaselinesTable, MethodSummary
from icm_annealer.benchmarks.gaps import GAP_NOTE
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.calibration import describe_calibration
from icm_annealer.reporting.evaluation_table import FIGURES
from icm_annealer.runs.schema.evaluation import KINDS
from icm_client.text.counts import counted

TOKENS = (
    "tokens: computed to find the labels, counted with a cold prefix cache that forgets nothing. *: stopped there, at "
    "the tokens of ICM."
)
NOTES = (
    "gap: (method - zero-shot) / (gold - zero-shot) of test accuracy; - where gold labels prompt no better than none.",
    GAP_NOTE,
)
NOISE = "gold with noise: gold labels of which random ones were exchanged, so that as many are right as of ICM's."


def print_methods(console: Terminal, table: BaselinesTable, methods: Sequence[MethodSummary]) -> None:
    """Tables of labels, of accuracies behind them, and of the other figures of each kind."""
    console.say(heading(table), wraps=True)
    labels = _table("labels", ["tokens", "right", "U", "search gap"])
    accuracies = _table("unseen examples", ["test", "gap", "test, cal.", "gap, cal."])
    for summary in methods:
        title = summary.method.title
        found = [format_estimate(summary.label_accuracy), format_u(summary), format_search_gap(summary)]
        labels.add_row(title, format_tokens(summary), *map(_cell, found))
        cells: list[str] = []
        for kind in KINDS:
            cells += [_cell(format_estimate(summary.figures[kind]["accuracy"])), _cell(format_gap(summary, kind))]
        accuracies.add_row(title, *cells)
    console.print(labels)
    console.print(accuracies)
    others = {name: title for name, title in FIGURES.items() if name != "accuracy"}
    for kind in KINDS:
        figures = _table(kind, list(others.values()))
        for summary in methods:
            cells = [_cell(format_estimate(summary.figures[kind][name])) for name in others]
            figures.add_row(summary.method.title, *cells)
        console.print(figures)
    for note in notes(table, methods):
        console.print(note, style="dim")


def notes(table: BaselinesTable, methods: Sequence[MethodSummary]) -> list[str]:
    """What the columns mean."""
    left_out = f"{counted(table.num_left_out, 'more seed')}: the budget was spent before; --resume continues."
    known = f", without the {counted(table.num_known, 'known one')}" if table.num_known else ""
    without_rates = [summary.method.title for summary in methods if not summary.method.respects_rates]
    return [
        *([left_out] if table.num_left_out else []),
        TOKENS,
        f"right: the share of right labels{known}; for zero-shot, of its calibrated answers to the same examples. "
        "test: accuracy on unseen examples behind the labels, raw and calibrated "
        f"({describe_calibration(table.stated_rates)}).",
        *(
            [f"found without the stated rates, which these searches cannot respect: {', '.join(without_rates)}."]
            if table.stated_rates and without_rates
            else []
        ),
        *NOTES,
        *([NOISE] if any(summary.method.name == "noise" for summary in methods) else []),
    ]


def heading(table: BaselinesTable) -> str:
    """What was compared, in one line."""
    spread = f"medians of {len(table.seeds)} seeds" if len(table.seeds) > 1 else f"seed {table.seeds[0]}"
    return (
        f"{table.task}: {counted(table.num_examples, 'example')} to label, "
        f"{counted(table.num_test, 'unseen one')} to test on, by {table.model['name']}; {spread} [{table.intervals}]"
    )


def format_tokens(summary: MethodSummary) -> str:
    """`33,120`, with a star where the search was stopped there."""
    star = "*" if summary.is_stopped else ""
    return f"{summary.tokens.value:,.0f}{star}"


def format_estimate(estimate: Estimate) -> str:
    """`0.965 [0.93, 0.98]`."""
    if math.isnan(estimate.value):
        return "-"
    spread = "" if math.isnan(estimate.low) else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.3f}{spread}"


def format_gap(summary: MethodSummary, kind: str) -> str:
    """`93 % [80, 104]`; empty for zero-shot and gold."""
    estimate = summary.gap.get(kind)
    if estimate is None:
        return ""
    if math.isnan(estimate.value):
        return "-"
    spread = "" if math.isnan(estimate.low) else f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
    return f"{100 * estimate.value:.0f} %{spread}"


def format_u(summary: MethodSummary) -> str:
    """U, as `+0.614 [+0.55, +0.66]`; empty where an example has no label."""
    if summary.weighed is None:
        return ""
    u = summary.weighed.u
    return f"{u.value:+.3f}" + ("" if math.isnan(u.low) else f" [{u.low:+.2f}, {u.high:+.2f}]")


def format_search_gap(summary: MethodSummary) -> str:
    """The search gap and its verdict, see `GapSummary.text`; empty where an example has no label."""
    return summary.weighed.text() if summary.weighed else ""


def _table(title: str, names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(title, no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _cell(text: str) -> str:
    """The figure, and its interval below it, so that a table fits 80 columns."""
    return text.replace(" [", "\n[").replace(", ", ",")
