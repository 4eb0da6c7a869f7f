"""One evaluation of several seeds: the seeds' own figures, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.evaluation.intervals import Estimate, median_over_seeds
from icm_annealer.evaluation.metrics import gap_recovered
from icm_annealer.evaluation.test_set import KINDS
from icm_client.contract.wire import Usage

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

    def to_dict(self) -> dict[str, Any]:
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
        "seeds": [seed.to_dict() for seed in seeds],
    }


def _over_seeds(seeds: Sequence[SeedEvaluation]) -> Figures:
    first = seeds[0].figures
    if len(seeds) == 1:
        return first
    return {
        method: {
            kind: {name: known_median(_values(seeds, method, kind, name)) for name in figures}
            for kind, figures in kinds.items()
        }
        for method, kinds in first.items()
    }


def _gap_over_seeds(seeds: Sequence[SeedEvaluation]) -> dict[str, Estimate]:
    if len(seeds) == 1 or not seeds[0].gap:
        return seeds[0].gap
    methods = ("zero_shot", "icm", "gold")
    return {kind: gap_over_seeds([_values(seeds, method, kind, "accuracy") for method in methods]) for kind in KINDS}


def _values(seeds: Sequence[SeedEvaluation], method: str, kind: str, name: str) -> Array:
    return np.array([seed.figures[method][kind][name].value for seed in seeds])


def gap_over_seeds(accuracies: Sequence[Array]) -> Estimate:
    """The gap recovered by median accuracies, over draws of seeds; `accuracies` by seed of zero-shot, ours, gold."""
    num = len(accuracies[0])
    draws = np.random.default_rng(0).integers(num, size=(NUM_RESAMPLES, num))
    medians = [np.median(values[draws], axis=1) for values in accuracies]
    return gap_recovered([float(np.median(values)) for values in accuracies], medians)


def known_median(values: Array) -> Estimate:
    """The median over the seeds of which a figure is known."""
    known = values[~np.isnan(values)]
    return median_over_seeds(known.tolist()) if len(known) else Estimate(float("nan"), float("nan"), float("nan"))


def _described(figures: Figures, gap: dict[str, Estimate]) -> dict[str, Any]:
    return {
        "figures": {
            method: {kind: {name: e.to_dict() for name, e in estimates.items()} for kind, estimates in kinds.items()}
            for method, kinds in figures.items()
        },
        "gap_recovered": {kind: estimate.to_dict() for kind, estimate in gap.items()},
    }
