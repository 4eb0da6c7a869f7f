"""Shifts label scores so that the labels occur at stated rates, by optimal transport with entropic smoothing.

The shift is one number per label, the same for all examples, so the examples' order within a label never changes. It is
the dual solution of a transport problem between examples and labels (Cuturi 2013, arXiv 1306.0895); a finite `strength`
makes it unbalanced (Chizat et al. 2018, arXiv 1607.05816). A leaf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icm_annealer.core.arrays import Array

TEMPERATURES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Successive smoothing in nats for exact rates; each stage starts from the one before, which is fast and stable."""
NUM_ITERATIONS = 300
TOLERANCE = 1e-5


@dataclass(frozen=True)
class LabelRates:
    """The least and the greatest share of each label, [C] each. Equal values state a rate exactly."""

    low: Array
    high: Array

    @classmethod
    def even(cls, num_labels: int) -> LabelRates:
        """The same share for every label."""
        return cls(np.full(num_labels, 1 / num_labels), np.full(num_labels, 1 / num_labels))

    def shifts(self, scores: Array) -> Array:
        """The shift [C], in nats, of `scores` [n, C] with which the labels' shares lie within the rates, as closely as
        n and equal scores allow. Labels whose shares do so anyway are not shifted."""
        shift = np.zeros(scores.shape[1])
        for temperature in TEMPERATURES:
            shift = smoothed_shifts(scores, self, temperature, start=shift)
        return shift


def smoothed_shifts(
    scores: Array, rates: LabelRates, temperature: float, strength: float = np.inf, start: Array | None = None
) -> Array:
    """The shift [C] of `scores` [n, C], in nats, that moves the label shares into `rates` when every example takes its
    labels in proportion to exp(score / temperature).

    `strength` is the price in nats of a share's divergence from its rate: infinite enforces the rates, 0 shifts
    nothing.
    """
    if strength == 0:
        return np.zeros(scores.shape[1])
    kernel = scores / temperature
    step = 1.0 if np.isinf(strength) else strength / (strength + temperature)
    low, high = (np.log(np.maximum(rate, 1e-6)) for rate in (rates.low, rates.high))
    shift: Array = np.zeros(scores.shape[1]) if start is None else start / temperature
    log_num = np.log(len(kernel))
    for _ in range(NUM_ITERATIONS):
        # The logarithms of the labels' shares without their own shifts, which may be of hundreds of nats.
        unshifted = log_sums(kernel - log_sums(kernel + shift, 1), 0)[0] - log_num
        following = step * (np.minimum(np.maximum(unshifted, low), high) - unshifted)
        moved = float(np.maximum.reduce(np.abs(following - shift)))
        shift = following
        if moved < TOLERANCE:
            break
    return shift * temperature


def log_sums(logs: Array, axis: int) -> Array:
    """log of the sum of exp(logs) over an axis, which is kept."""
    # Called hundreds of times for one shift, so by the ufuncs themselves: half the time of max() and sum().
    top = np.maximum.reduce(logs, axis=axis, keepdims=True)
    sums: Array = top + np.log(np.add.reduce(np.exp(logs - top), axis=axis, keepdims=True))
    return sums
