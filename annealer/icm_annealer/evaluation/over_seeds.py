"""Figures of an evaluation over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import median_over_seeds
from icm_annealer.evaluation.metrics import gap_recovered
from icm_annealer.runs.schema.evaluation import KINDS, Quality, SeedFigures
from icm_client.contract.wire import Usage

NUM_RESAMPLES = 10_000
COMPARED = ("zero_shot", "icm", "gold")
"""The methods that the gap recovered is computed from."""


@dataclass(frozen=True)
class SeedEvaluation:
    """The figures and costs of one seed."""

    figures: SeedFigures
    num_examples: int
    num_test: int
    num_dropped: int
    """Shots that did not fit the model's window, in the context that dropped the most."""
    usage: Usage


def figures_over_seeds(seeds: Sequence[SeedFigures]) -> dict[str, Quality]:
    """Figures by method: those of one seed, or medians over several with intervals over the seeds."""
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


def gaps_over_seeds(seeds: Sequence[SeedFigures]) -> dict[str, Estimate]:
    """The gap recovered by kind, like `figures_over_seeds`; empty if it is unknown."""
    if len(seeds) == 1 or not seeds[0].gap_recovered:
        return seeds[0].gap_recovered
    return {kind: gap_over_seeds([_values(seeds, method, kind, "accuracy") for method in COMPARED]) for kind in KINDS}


def _values(seeds: Sequence[SeedFigures], method: str, kind: str, name: str) -> Array:
    return np.array([seed.figures[method][kind][name].value for seed in seeds])


def gap_over_seeds(accuracies: Sequence[Array]) -> Estimate:
    """The gap recovered by median accuracies, bootstrapped over seeds. `accuracies`: by seed, for zero-shot, ours,
    gold."""
    num = len(accuracies[0])
    draws = np.random.default_rng(0).integers(num, size=(NUM_RESAMPLES, num))
    medians = [np.median(values[draws], axis=1) for values in accuracies]
    return gap_recovered([float(np.median(values)) for values in accuracies], medians)


def known_median(values: Array) -> Estimate:
    """The median over the seeds whose value is not NaN."""
    known = values[~np.isnan(values)]
    return median_over_seeds(known.tolist()) if len(known) else Estimate(float("nan"), float("nan"), float("nan"))
