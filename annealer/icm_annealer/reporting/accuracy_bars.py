"""Test accuracies of a run as bars: from a demo's results, or from what `icm eval` found."""

from __future__ import annotations

from collections.abc import Iterable

from icm_annealer.evaluation.intervals import MIN_SEEDS
from icm_annealer.plots.bars import Bar
from icm_annealer.reporting.methods import TITLES
from icm_annealer.runs.schema.evaluation import KINDS, Evaluation
from icm_annealer.runs.schema.metrics import DemoResults

Bars = dict[str, tuple[Bar, ...]]
"""By method, in the order of TITLES: a bar for each of KINDS."""


def accuracy_bars(demo: DemoResults | None, evaluation: Evaluation | None) -> Bars:
    """A demo's, else the evaluation's; empty if there is neither."""
    if demo is not None:
        return _of_demo(demo)
    return _of_evaluation(evaluation) if evaluation else {}


def intervals_of(demo: DemoResults | None, evaluation: Evaluation | None) -> str:
    """What the bars and intervals of `accuracy_bars` are, in one sentence."""
    if demo is None:
        return f"Intervals: {evaluation.intervals}." if evaluation else ""
    if len(demo.seeds) >= MIN_SEEDS:
        return "Bars are medians over seeds, with 95 % bootstrap intervals of the median."
    if len(demo.seeds) > 1:
        return "Bars are medians over seeds, with lines from the least to the greatest seed."
    return "Intervals: 95 % (Wilson)."


def _of_demo(demo: DemoResults) -> Bars:
    def bar(name: str) -> Bar:
        return Bar(demo.test_accuracy[name], tuple(seed.test_accuracy[name].value for seed in demo.seeds))

    names = {"raw": "{}", "calibrated": "{}_calibrated"}
    return {method: tuple(bar(names[kind].format(method)) for kind in KINDS) for method in _known(demo.test_accuracy)}


def _of_evaluation(evaluation: Evaluation) -> Bars:
    def bar(method: str, kind: str) -> Bar:
        seeds = tuple(seed.figures[method][kind]["accuracy"].value for seed in evaluation.seeds)
        return Bar(evaluation.figures[method][kind]["accuracy"], seeds)

    return {method: tuple(bar(method, kind) for kind in KINDS) for method in _known(evaluation.figures)}


def _known(names: Iterable[str]) -> list[str]:
    there = set(names)
    return [method for method in TITLES if method in there]
