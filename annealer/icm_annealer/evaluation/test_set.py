"""Metrics of predictions on a test set, raw and calibrated, with intervals over shared resamples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.examples import Example, Grouped, groups_of
from icm_annealer.evaluation.intervals import MIN_SEEDS, seeds_interval
from icm_annealer.evaluation.many_shot import Predictions
from icm_annealer.evaluation.metrics import Judged, Resamples, quality
from icm_annealer.runs.schema.evaluation import KINDS


class Judge:
    """Compares predictions with gold labels; examples without a gold label (-1) are ignored."""

    def __init__(self, examples: Sequence[Example], gold: Ints, seed: int):
        self._known = np.flatnonzero(gold >= 0)
        self._gold = gold[self._known]
        self.units = units_of([examples[number] for number in self._known])
        """The group number of each evaluated example, the unit of resampling."""
        self._seed = seed

    @cached_property
    def resamples(self) -> Resamples:
        return Resamples(self.units, self._seed)

    @property
    def is_grouped(self) -> bool:
        return len(np.unique(self.units)) < len(self.units)

    def judged(self, predictions: Predictions) -> dict[str, Judged]:
        """Predictions by kind (raw, calibrated). They are calibrated over all test examples, with gold or not."""
        scores = {"raw": predictions.logprobs, "calibrated": predictions.calibrated_scores}
        return {kind: Judged(scores[kind][self._known], self._gold) for kind in KINDS}

    def figures(self, judged: dict[str, Judged]) -> dict[str, dict[str, Estimate]]:
        """Metrics by kind and name (accuracy, ...)."""
        return {kind: quality(one, self.resamples, is_grouped=self.is_grouped) for kind, one in judged.items()}


def describe_intervals(num_seeds: int, *, is_grouped: bool) -> str:
    """A description of the intervals."""
    if num_seeds >= MIN_SEEDS:
        return "95 %, bootstrap of the median over seeds"
    if num_seeds > 1:
        return seeds_interval(num_seeds)
    if is_grouped:
        return "95 %, bootstrap over groups of test examples"
    return "95 %, Wilson's for accuracy, else bootstrap over test examples"


def units_of(examples: Sequence[Grouped]) -> Ints:
    """The group number of each example, the unit of resampling."""
    units = np.zeros(len(examples), dtype=np.int64)
    for number, group in enumerate(groups_of(examples)):
        units[group] = number
    return units
