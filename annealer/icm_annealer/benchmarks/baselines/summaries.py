"""Rows summed up over seeds: the figures of each method. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from icm_annealer.benchmarks.baselines.methods import GOLD, METHODS, ZERO_SHOT, Method
from icm_annealer.benchmarks.baselines.rows import BaselineRow
from icm_annealer.benchmarks.gaps import GapSummary
from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import median_over_seeds
from icm_annealer.evaluation.metrics import FIGURES, Resamples, gap_recovered
from icm_annealer.evaluation.over_seeds import gap_over_seeds, known_median
from icm_annealer.runs.schema.evaluation import KINDS


class MethodFigures(BaseModel):
    """A method's figures as `baselines.json` holds them."""

    model_config = ConfigDict(strict=True, frozen=True)

    tokens: Estimate
    label_accuracy: Estimate
    figures: dict[str, dict[str, Estimate]]
    gap_recovered: dict[str, Estimate]
    weighed: GapSummary | None
    """None if a seed's labels do not cover all examples."""


class BaselinesTable(BaseModel):
    """What was compared, and the methods' figures: the part `table` of `baselines.json`."""

    model_config = ConfigDict(strict=True, frozen=True)

    task: str
    title: str
    num_examples: int
    num_test: int
    seeds: list[int]
    num_left_out: int = 0
    """Seeds for which the budget did not suffice."""
    intervals: str
    model: dict[str, str]
    stated_rates: dict[str, tuple[float, float]] | None = None
    """The label rates that searches respected and predictions were calibrated to; None if none were stated."""
    num_known: int | None = None
    """Known labels of the first seed; None if none are known."""
    methods: dict[str, MethodFigures]


@dataclass(frozen=True)
class MethodSummary:
    """One method: its own figures of one seed, or medians over several."""

    method: Method
    rows: Sequence[BaselineRow]
    tokens: Estimate
    """Computed to find the labels, counted with a cold prefix cache that forgets nothing."""
    label_accuracy: Estimate
    figures: dict[str, dict[str, Estimate]]
    """By kind (raw, calibrated) and name (accuracy, ...)."""
    gap: dict[str, Estimate]
    """Performance gap recovered, by kind; empty for the two that it lies between, and without them."""
    weighed: GapSummary | None
    """U and the search gap; None if a seed's labels do not cover all examples."""

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped at the tokens of ICM for any seed."""
        return any(row.is_stopped for row in self.rows)

    def stored(self) -> MethodFigures:
        """As JSON holds it."""
        return MethodFigures(
            tokens=self.tokens,
            label_accuracy=self.label_accuracy,
            figures=self.figures,
            gap_recovered=self.gap,
            weighed=self.weighed,
        )

    def seeds(self, kind: str, name: str = "accuracy") -> list[float]:
        """A figure of every seed."""
        return [row.figures[kind][name].value for row in self.rows]


def method_summaries(rows: Sequence[BaselineRow]) -> list[MethodSummary]:
    """Of one task and size, in the order of the table."""
    by_method: dict[str, list[BaselineRow]] = {}
    for row in sorted(rows, key=lambda row: row.seed):
        by_method.setdefault(row.method, []).append(row)
    ends = by_method.get(ZERO_SHOT, []), by_method.get(GOLD, [])
    return [_summary(METHODS[name], by_method[name], *ends) for name in METHODS if name in by_method]


def _summary(
    method: Method, rows: Sequence[BaselineRow], zero_shot: Sequence[BaselineRow], gold: Sequence[BaselineRow]
) -> MethodSummary:
    has_gap = method.name not in (ZERO_SHOT, GOLD) and len(zero_shot) == len(gold) == len(rows)
    gap = {kind: _gap([zero_shot, rows, gold], kind) for kind in KINDS} if has_gap else {}
    known = [row.weighed for row in rows if row.weighed]
    weighed = GapSummary.of(known) if len(known) == len(rows) else None
    tokens = [float(row.tokens or 0) for row in rows]
    if len(rows) == 1:
        (row,) = rows
        alone = Estimate(tokens[0], float("nan"), float("nan"))
        return MethodSummary(method, rows, alone, row.label_accuracy, row.figures, gap, weighed)
    return MethodSummary(
        method,
        rows,
        median_over_seeds(tokens),
        known_median(np.array([row.label_accuracy.value for row in rows])),
        {kind: {name: known_median(_values(rows, kind, name)) for name in FIGURES} for kind in KINDS},
        gap,
        weighed,
    )


def _gap(rows: Sequence[Sequence[BaselineRow]], kind: str) -> Estimate:
    """Of zero-shot, a method, and gold: over the same draws of seeds, or where there is one, of test examples."""
    if len(rows[0]) > 1:
        return gap_over_seeds([_values(seeds, kind, "accuracy") for seeds in rows])
    resamples = Resamples(rows[0][0].test_units, rows[0][0].seed)
    right = [seeds[0].right[kind] for seeds in rows]
    drawn = [np.concatenate([weights @ one / weights.sum(axis=1) for weights in resamples]) for one in right]
    return gap_recovered([float(one.mean()) for one in right], drawn)


def _values(rows: Sequence[BaselineRow], kind: str, name: str) -> Array:
    return np.array([row.figures[kind][name].value for row in rows])
