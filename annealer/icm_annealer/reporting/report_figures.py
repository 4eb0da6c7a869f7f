"""Test accuracies of a run as bars: from a demo's metrics, or from what `icm eval` found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icm_annealer.evaluation.intervals import Estimate
from icm_annealer.reporting.bars import Bar

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


def accuracy_bars(metrics: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Bar]:
    """A bar a method, `_calibrated` ones beside the raw; a demo's, else the evaluation's; empty if there is neither."""
    if "test_accuracy" in metrics:
        return _of_demo(metrics)
    return _of_evaluation(evaluation) if evaluation else {}


def spread_told(metrics: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """What the intervals of `accuracy_bars` are, in one sentence."""
    if "test_accuracy" not in metrics:
        return f"Lines are intervals: {evaluation['intervals']}." if evaluation else ""
    if len(_seeds(metrics)) > 1:
        return "Bars are medians over seeds, dots the seeds, lines 95 % bootstrap intervals of the median."
    return "Lines are 95 % intervals (Wilson)."


def _of_demo(metrics: dict[str, Any]) -> dict[str, Bar]:
    bars = {}
    for name, title, colour in METHODS:
        if name in metrics["test_accuracy"]:
            low, high = metrics["test_accuracy_interval"][name]
            estimate = Estimate(float(metrics["test_accuracy"][name]), float(low), float(high))
            bars[name] = Bar(title, colour, estimate, _dots([s["test_accuracy"][name] for s in _seeds(metrics)]))
    return bars


def _of_evaluation(evaluation: dict[str, Any]) -> dict[str, Bar]:
    bars = {}
    for name, title, colour in METHODS:
        method, kind = name.removesuffix("_calibrated"), "calibrated" if name.endswith("_calibrated") else "raw"
        if method in evaluation["figures"]:
            figure = evaluation["figures"][method][kind]["accuracy"]
            dots = [Estimate.read(seed["figures"][method][kind]["accuracy"]).value for seed in evaluation["seeds"]]
            bars[name] = Bar(title, colour, Estimate.read(figure), _dots(dots))
    return bars


def _seeds(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A demo's seeds; the folder of one of several seeds holds its own figures alone."""
    seeds: list[dict[str, Any]] = metrics.get("seeds") or [metrics]
    return seeds


def _dots(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values] if len(values) > 1 else []
