"""How 95 % intervals are computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.estimate import Estimate

MIN_SEEDS = 5
"""Of fewer seeds, the bootstrap interval of a median reaches from the least to the greatest, which holds the median
less often than 95 times in 100: for two seeds 50 times, for three 75, for four 87, for five 94."""


def wilson(num_right: float, num: float) -> Estimate:
    """A share, such as an accuracy, with Wilson's 95 % score interval."""
    if not num:
        return Estimate(float("nan"), 0.0, 1.0)
    z, p = 1.959964, num_right / num
    centre = (p + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * float(np.sqrt(p * (1 - p) / num + z * z / (4 * num * num)))
    # At 0 and 1 the last digit can be off.
    return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def median_over_seeds(values: Sequence[float], seed: int = 0, num_resamples: int = 10_000) -> Estimate:
    """The median with a 95 % percentile-bootstrap interval over the seeds; see `MIN_SEEDS` for how few are enough."""
    rng = np.random.default_rng(seed)
    array = np.array(values)
    medians = np.median(array[rng.integers(len(array), size=(num_resamples, len(array)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return Estimate(float(np.median(array)), float(low), float(high))


def seeds_interval(num_seeds: int) -> str:
    """What the interval of a figure of so many seeds is, for a legend or brackets."""
    return "least to greatest seed" if 1 < num_seeds < MIN_SEEDS else "95 % interval"
