"""Test accuracies of a run as bars: from a demo's metrics, or from what `icm eval` found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from icm_annealer.evaluation.intervals import Estimate
from icm_annealer.evaluation.test_set import KINDS
from icm_annealer.plots.bars import Bar
from icm_annealer.reporting.methods import TITLES

Bars = dict[str, tuple[Bar, ...]]
"""By method, in the order of TITLES: a bar for each of KINDS."""


def accuracy_bars(metrics: dict[str, Any], evaluation: dict[str, Any]) -> Bars:
    """A demo's, else the evaluation's; empty if there is neither."""
    if "test_accuracy" in metrics:
        return _of_demo(metrics)
    return _of_evaluation(evaluation) if evaluation else {}


def intervals_of(metrics: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """What the bars and intervals of `accuracy_bars` are, in one sentence."""
    if "test_accuracy" not in metrics:
        return f"Intervals: {evaluation['intervals']}." if evaluation else ""
    if len(_seeds(metrics)) > 1:
        return "Bars are medians over seeds, with 95 % bootstrap intervals of the median."
    return "Intervals: 95 % (Wilson)."


def _of_demo(metrics: dict[str, Any]) -> Bars:
    def bar(name: str) -> Bar:
        low, high = metrics["test_accuracy_interval"][name]
        estimate = Estimate(float(metrics["test_accuracy"][name]), float(low), float(high))
        return Bar(estimate, tuple(float(seed["test_accuracy"][name]) for seed in _seeds(metrics)))

    names = {"raw": "{}", "calibrated": "{}_calibrated"}
    return {
        method: tuple(bar(names[kind].format(method)) for kind in KINDS) for method in _known(metrics["test_accuracy"])
    }


def _of_evaluation(evaluation: dict[str, Any]) -> Bars:
    def bar(method: str, kind: str) -> Bar:
        seeds = [seed["figures"][method][kind]["accuracy"] for seed in evaluation["seeds"]]
        estimate = Estimate.read(evaluation["figures"][method][kind]["accuracy"])
        return Bar(estimate, tuple(Estimate.read(seed).value for seed in seeds))

    return {method: tuple(bar(method, kind) for kind in KINDS) for method in _known(evaluation["figures"])}


def _known(names: Iterable[str]) -> list[str]:
    there = set(names)
    return [method for method in TITLES if method in there]


def _seeds(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A demo's seeds; the folder of one of several seeds holds its own figures alone."""
    seeds: list[dict[str, Any]] = metrics.get("seeds") or [metrics]
    return seeds
