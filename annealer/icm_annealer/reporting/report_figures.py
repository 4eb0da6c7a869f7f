"""Test accuracies of a run as bars: from a demo's results, or from what `icm eval` found."""

from __future__ import annotations

from collections.abc import Sequence

from icm_annealer.reporting.bars import Bar
from icm_annealer.runs.schema.evaluation import Evaluation
from icm_annealer.runs.schema.metrics import DemoResults

METHODS = (
    ("zero_shot", "zero-shot", "#94a3b8"),
    ("zero_shot_calibrated", "zero-shot, calibrated", "#64748b"),
    ("random_few_shot", "random labels", "#d6b48a"),
    ("random_few_shot_calibrated", "random labels, calibrated", "#b08d5b"),
    ("icm", "ICM", "#2563eb"),
    ("icm_calibrated", "ICM, calibrated", "#1e40af"),
    ("gold", "gold labels", "#eab308"),
    ("gold_calibrated", "gold labels, calibrated", "#a16207"),
)
"""Name in the files, title, colour; in the order of the page."""


def accuracy_bars(demo: DemoResults | None, evaluation: Evaluation | None) -> dict[str, Bar]:
    """A bar a method, `_calibrated` ones beside the raw; a demo's, else the evaluation's; empty if there is neither."""
    if demo is not None:
        return _of_demo(demo)
    return _of_evaluation(evaluation) if evaluation else {}


def describe_spread(demo: DemoResults | None, evaluation: Evaluation | None) -> str:
    """What the intervals of `accuracy_bars` are, in one sentence."""
    if demo is None:
        return f"Lines are intervals: {evaluation.intervals}." if evaluation else ""
    if len(demo.seeds) > 1:
        return "Bars are medians over seeds, dots the seeds, lines 95 % bootstrap intervals of the median."
    return "Lines are 95 % intervals (Wilson)."


def _of_demo(demo: DemoResults) -> dict[str, Bar]:
    return {
        name: Bar(
            title,
            colour,
            demo.test_accuracy[name],
            _dots([seed.test_accuracy[name].value for seed in demo.seeds]),
        )
        for name, title, colour in METHODS
        if name in demo.test_accuracy
    }


def _of_evaluation(evaluation: Evaluation) -> dict[str, Bar]:
    bars = {}
    for name, title, colour in METHODS:
        method, kind = name.removesuffix("_calibrated"), "calibrated" if name.endswith("_calibrated") else "raw"
        if method in evaluation.figures:
            dots = [seed.figures[method][kind]["accuracy"].value for seed in evaluation.seeds]
            bars[name] = Bar(title, colour, evaluation.figures[method][kind]["accuracy"], _dots(dots))
    return bars


def _dots(values: Sequence[float]) -> list[float]:
    return list(values) if len(values) > 1 else []
