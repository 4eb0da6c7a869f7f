"""What `icm eval` found, as a person reads it."""

from __future__ import annotations

import math

from rich.table import Table

from icm_annealer.console.terminal import Terminal
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.calibration import describe_calibration
from icm_annealer.reporting.certainty_plots import at_least, shown_risks
from icm_annealer.reporting.methods import TITLES
from icm_annealer.runs.schema.evaluation import KINDS, CertaintyFigures, Evaluation
from icm_client.contract.wire import ModelIdentity
from icm_client.text.counts import counted

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "ece": "ECE (15 bins)",
    "brier": "Brier (0 to 2)",
}


def print_evaluation(console: Terminal, evaluation: Evaluation, found_by: ModelIdentity | None) -> None:
    """`found_by` is the model that found the labels; None for labels that none found."""
    if not evaluation.seeds:
        _print_labels(console, evaluation)
        return
    num_seeds = len(evaluation.seeds)
    spread = f", medians of {num_seeds} seeds" if num_seeds > 1 else ""
    console.say(
        f"{counted(evaluation.num_test, 'unseen example')} behind "
        f"{counted(evaluation.num_examples, 'labelled one')}, by "
        f"{evaluation.model.name}{spread} [{evaluation.intervals}]",
        wraps=True,
    )
    if evaluation.num_left_out:
        console.say(f"The budget was spent before {evaluation.num_left_out} more seeds.")
    if found_by is not None and found_by.digest != evaluation.model.digest:
        console.say(f"The labels were found by another model, {found_by.name}.")
    if evaluation.num_dropped:
        console.print(
            "The model's window does not hold all labelled examples: up to "
            f"{counted(evaluation.num_dropped, 'was', 'were')} left out of a context; --shots takes fewer for all."
        )
    for kind in KINDS:
        table = _table()
        table.add_column(kind, min_width=17)
        for method in evaluation.figures:
            table.add_column(TITLES[method], min_width=20, justify="right")
        for name, title in FIGURES.items():
            table.add_row(title, *(format_figure(kinds[kind][name]) for kinds in evaluation.figures.values()))
        gap = evaluation.gap_recovered.get(kind)
        if gap is not None:
            cells = ["", format_figure(gap)] if "gold" in evaluation.figures else []
            table.add_row("gap recovered", *cells, "gold is no better" if math.isnan(gap.value) else "")
        console.print(table)
    if num_seeds > 1 and evaluation.num_test == evaluation.num_unseen:
        console.print(
            "All seeds have the same test examples, so that the intervals are of the contexts' orders alone: "
            "a smaller --test-size draws others for each."
        )
    if evaluation.stated_rates:
        console.say(f"Calibrated: {describe_calibration(evaluation.stated_rates)}.", wraps=True)
    _print_labels(console, evaluation)


def _print_labels(console: Terminal, evaluation: Evaluation) -> None:
    if evaluation.label_accuracy:
        known = f" (without the {counted(evaluation.num_known, 'known one')})" if evaluation.num_known else ""
        console.say(f"Labels found that are right: {format_figure(evaluation.label_accuracy)}{known}")
    if evaluation.certainty:
        _print_certainty(console, evaluation.certainty)


def _print_certainty(console: Terminal, figures: CertaintyFigures) -> None:
    console.say(
        f"Their certainty, right against wrong: AUROC {format_figure(figures.auroc)}, ECE {format_figure(figures.ece)}",
        wraps=True,
    )
    table = _table()
    for name in ("most certain", "certainty", "wrong among them"):
        table.add_column(name, justify="right")
    for one in shown_risks(figures):
        table.add_row(f"{one.coverage:.0%}", f">= {at_least(one.certainty)}", format_figure(one.risk))
    console.print(table)


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")


def format_figure(figure: Estimate) -> str:
    """`0.965 [0.930, 0.983]`, without the interval where there is none; `-` for what is unknown."""
    if math.isnan(figure.value):
        return "-"
    return f"{figure.value:.3f}" if math.isnan(figure.low) or math.isnan(figure.high) else str(figure)
