"""One evaluation of several seeds: the seeds' own figures, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icm_annealer.arrays import Array
from icm_annealer.estimates import Estimate, median_over_seeds
from icm_annealer.quality import gap_recovered
from icm_client.wire import Usage

KINDS = ("raw", "calibrated")
NUM_RESAMPLES = 10_000

Figures = dict[str, dict[str, dict[str, Estimate]]]
"""By method (zero_shot, icm, gold), kind (raw, calibrated) and name (accuracy, ...)."""


@dataclass(frozen=True)
class SeedEvaluation:
    """What one seed found."""

    seed: int
    num_examples: int
    num_test: int
    num_dropped: int
    """Shots that did not fit the model's window, in the context that lost most."""
    figures: Figures
    gap: dict[str, Estimate]
    """Performance gap recovered, by kind; empty where gold labels of the shots are not known."""
    usage: Usage

    def described(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"seed": self.seed, **_described(self.figures, self.gap)}


def summary(seeds: Sequence[SeedEvaluation]) -> dict[str, Any]:
    """One seed's own figures; of several the medians, with intervals over the seeds. As JSON holds it."""
    usage = sum((seed.usage for seed in seeds), Usage())
    return {
        "num_examples": seeds[0].num_examples,
        "num_test": seeds[0].num_test,
        "num_dropped": max(seed.num_dropped for seed in seeds),
        **_described(_over_seeds(seeds), _gap_over_seeds(seeds)),
        "computed_tokens": usage.computed_tokens,
        "cached_tokens": usage.cached_tokens,
        "seeds": [seed.described() for seed in seeds],
    }


def _over_seeds(seeds: Sequence[SeedEvaluation]) -> Figures:
    first = seeds[0].figures
    if len(seeds) == 1:
        return first
    return {
        method: {
            kind: {name: _median(_values(seeds, method, kind, name)) for name in figures}
            for kind, figures in kinds.items()
        }
        for method, kinds in first.items()
    }


def _gap_over_seeds(seeds: Sequence[SeedEvaluation]) -> dict[str, Estimate]:
    """Of several seeds: the gap between their median accuracies, over draws of seeds."""
    if len(seeds) == 1 or not seeds[0].gap:
        return seeds[0].gap
    draws = np.random.default_rng(0).integers(len(seeds), size=(NUM_RESAMPLES, len(seeds)))
    gaps = {}
    for kind in KINDS:
        values = [_values(seeds, method, kind, "accuracy") for method in ("zero_shot", "icm", "gold")]
        medians = [np.median(value[draws], axis=1) for value in values]
        gaps[kind] = gap_recovered([float(np.median(value)) for value in values], medians)
    return gaps


def _values(seeds: Sequence[SeedEvaluation], method: str, kind: str, name: str) -> Array:
    return np.array([seed.figures[method][kind][name].value for seed in seeds])


def _median(values: Array) -> Estimate:
    known = values[~np.isnan(values)]
    return median_over_seeds(known.tolist()) if len(known) else Estimate(float("nan"), float("nan"), float("nan"))


def _described(figures: Figures, gap: dict[str, Estimate]) -> dict[str, Any]:
    return {
        "figures": {
            method: {kind: {name: e.described() for name, e in estimates.items()} for kind, estimates in kinds.items()}
            for method, kinds in figures.items()
        },
        "gap_recovered": {kind: estimate.described() for kind, estimate in gap.items()},
    }
