"""Rows summed up: a standing of each method, over seeds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icm_annealer.benchmarks.baselines.methods import GOLD, METHODS, ZERO_SHOT, Method
from icm_annealer.benchmarks.runner import Row, parted
from icm_annealer.core.arrays import Array
from icm_annealer.evaluation.intervals import Estimate, median_over_seeds
from icm_annealer.evaluation.metrics import FIGURES, Resamples, gap_recovered
from icm_annealer.evaluation.over_seeds import gap_over_seeds, known_median
from icm_annealer.evaluation.test_set import KINDS


@dataclass(frozen=True)
class Standing:
    """One method: its own figures of one seed, or medians over several."""

    method: Method
    rows: Sequence[Row]
    tokens: Estimate
    """Computed to find the labels, counted with a cold prefix cache that forgets nothing."""
    label_accuracy: Estimate
    figures: dict[str, dict[str, Estimate]]
    """By kind (raw, calibrated) and name (accuracy, ...)."""
    gap: dict[str, Estimate]
    """Performance gap recovered, by kind; empty for the two that it lies between, and without them."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "tokens": self.tokens.to_dict(),
            "label_accuracy": self.label_accuracy.to_dict(),
            "figures": {
                kind: {name: estimate.to_dict() for name, estimate in figures.items()}
                for kind, figures in self.figures.items()
            },
            "gap_recovered": {kind: estimate.to_dict() for kind, estimate in self.gap.items()},
        }

    def seeds(self, kind: str, name: str = "accuracy") -> list[float]:
        """A figure of every seed."""
        return [_value(row["figures"][kind][name]) for row in self.rows]


def standings(rows: Sequence[Row]) -> list[Standing]:
    """Of one task and size, in the order of the table."""
    by_method: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        by_method.setdefault(row["method"], []).append(row)
    ends = by_method.get(ZERO_SHOT, []), by_method.get(GOLD, [])
    return [_standing(METHODS[name], by_method[name], *ends) for name in METHODS if name in by_method]


def _standing(method: Method, rows: Sequence[Row], zero_shot: Sequence[Row], gold: Sequence[Row]) -> Standing:
    has_gap = method.name not in (ZERO_SHOT, GOLD) and len(zero_shot) == len(gold) == len(rows)
    if len(rows) == 1:
        row = rows[0]
        tokens = Estimate(row["tokens"], float("nan"), float("nan"))
        label_accuracy = Estimate.read(row["label_accuracy"])
        figures = {
            kind: {name: Estimate.read(figure) for name, figure in row["figures"][kind].items()} for kind in KINDS
        }
    else:
        tokens = median_over_seeds([row["tokens"] for row in rows])
        label_accuracy = known_median(np.array([_value(row["label_accuracy"]) for row in rows]))
        figures = {kind: {name: known_median(_values(rows, kind, name)) for name in FIGURES} for kind in KINDS}
    gap = {kind: _gap([zero_shot, rows, gold], kind) for kind in KINDS} if has_gap else {}
    return Standing(method, rows, tokens, label_accuracy, figures, gap)


def _gap(rows: Sequence[Sequence[Row]], kind: str) -> Estimate:
    """Of zero-shot, a method, and gold: over the same draws of seeds, or where there is one, of test examples."""
    if len(rows[0]) > 1:
        return gap_over_seeds([_values(seeds, kind, "accuracy") for seeds in rows])
    resamples = Resamples(parted(rows[0][0]["test_units"]), rows[0][0]["seed"])
    right = [parted(seeds[0]["right"][kind]) for seeds in rows]
    drawn = [np.concatenate([weights @ one / weights.sum(axis=1) for weights in resamples]) for one in right]
    return gap_recovered([float(one.mean()) for one in right], drawn)


def _values(rows: Sequence[Row], kind: str, name: str) -> Array:
    return np.array([_value(row["figures"][kind][name]) for row in rows])


def _value(figure: dict[str, float | None]) -> float:
    return Estimate.read(figure).value
