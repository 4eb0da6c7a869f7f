"""What `icm eval` found, as a person reads it."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from icm_annealer.console.terminal import Terminal
from icm_annealer.reporting.methods import TITLES

FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "ece": "ECE (15 bins)",
    "brier": "Brier (0 to 2)",
}


def print_evaluation(console: Terminal, evaluation: dict[str, Any], found_by: dict[str, Any]) -> None:
    """`evaluation` is what `eval.json` holds; `found_by` the model that found the labels."""
    seeds, model = evaluation["seeds"], evaluation["model"]
    spread = f", medians of {len(seeds)} seeds" if len(seeds) > 1 else ""
    console.say(
        f"{evaluation['num_test']} unseen examples behind {evaluation['num_examples']} labelled ones, by "
        f"{model['name']}{spread} [{evaluation['intervals']}]",
        wraps=True,
    )
    if found_by.get("digest") != model["digest"]:
        console.say(f"The labels were found by another model, {found_by.get('name')}.")
    if evaluation["num_dropped"]:
        console.print(
            f"The model's window does not hold all labelled examples: up to {evaluation['num_dropped']} were left out "
            "of a context; --examples takes fewer for all."
        )
    for kind in ("raw", "calibrated"):
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column(kind, min_width=17)
        for method in evaluation["figures"]:
            table.add_column(TITLES[method], min_width=20, justify="right")
        for name, title in FIGURES.items():
            figures = [kinds[kind][name] for kinds in evaluation["figures"].values()]
            table.add_row(title, *map(told, figures))
        gap = evaluation["gap_recovered"].get(kind)
        if gap is not None:
            cells = ["", told(gap)] if "gold" in evaluation["figures"] else []
            table.add_row("gap recovered", *cells, "" if gap["value"] is not None else "gold is no better")
        console.print(table)
    if len(seeds) > 1 and evaluation["num_test"] == evaluation["num_unseen"]:
        console.print(
            "All seeds have the same test examples, so that the intervals are of the contexts' orders alone: "
            "a smaller --test-size draws others for each."
        )
    if evaluation["label_accuracy"]:
        console.say(f"Labels found that are right: {told(evaluation['label_accuracy'])}")


def told(figure: dict[str, float | None]) -> str:
    """`0.965 [0.930, 0.983]`, without the interval where there is none."""
    if figure["value"] is None:
        return "-"
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
