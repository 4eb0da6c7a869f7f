"""Metrics of label probabilities against gold: accuracy, balanced accuracy, AUROC, calibration. Numbers only.

Every metric is computed for many weightings of the examples at once: `weights` [r, n] says how often each example
counts. Weights of one give the metric itself; draws with replacement give its bootstrap.

    accuracy            share of right labels
    balanced_accuracy   mean over the classes of gold of the share that is right
    auroc               probability that an example of a class scores above one of the others, ties by half; with more
                        than two classes the mean over each against the rest
    ece                 expected calibration error: |share right - mean confidence|, over 15 bins of equal width of the
                        confidence (the highest label probability), weighted by the examples in them
    brier               mean squared distance of the probabilities from the gold label, summed over labels: 0 to 2
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.core.objective import normalized
from icm_annealer.evaluation.intervals import wilson

NUM_BINS = 15
DIGITS = 9
"""Scores are rounded to this many digits, so that floating-point noise affects neither ranks nor bins."""
NUM_RESAMPLES = 2000
MAX_CELLS = 4_000_000
"""The most weights in memory at a time."""


@dataclass(frozen=True)
class Judged:
    """Log-probabilities [n, C] of examples whose gold labels [n] are known; they need not be normalised."""

    logprobs: Array
    gold: Ints

    @cached_property
    def normalized(self) -> Array:
        return normalized(self.logprobs)

    @cached_property
    def probs(self) -> Array:
        probs: Array = np.exp(self.normalized)
        return probs

    @cached_property
    def is_right(self) -> Array:
        right: Array = (self.logprobs.argmax(axis=1) == self.gold).astype(float)
        return right


class Resamples:
    """Draws with replacement, identical in every iteration, so that metrics of different methods are paired.

    `units` [n] are the numbers of units that are drawn together, such as groups.
    """

    def __init__(self, units: Ints, seed: int = 0, num: int = NUM_RESAMPLES):
        self._units, self._seed, self._num = units, seed, num
        self._kept = list(self._drawn()) if num * len(units) <= MAX_CELLS else None

    def __iter__(self) -> Iterator[Array]:
        """Yields weights [r, n] in parts that fit memory."""
        return iter(self._kept) if self._kept is not None else self._drawn()

    def share(self, values: Array, there: Array) -> Estimate:
        """The mean of `values` (0 to 1) where `there` is not 0, with its percentile-bootstrap interval; NaN if it is 0
        everywhere. Where all values are 0 or all are 1, so are all draws: then the interval is Wilson's of as many
        units."""
        if not there.any():
            return Estimate(float("nan"), float("nan"), float("nan"))
        value = float(values[there > 0].mean())
        if value in (0.0, 1.0):
            num = len(np.unique(self._units[there > 0]))
            return wilson(value * num, num)
        drawn = [_means(values, weights * there) for weights in self]
        return Estimate(value, *interval(np.concatenate(drawn)))

    def _drawn(self) -> Iterator[Array]:
        rng = np.random.default_rng(self._seed)
        num_units = int(self._units.max()) + 1
        step = max(1, MAX_CELLS // len(self._units))
        for begin in range(0, self._num, step):
            draws = rng.multinomial(num_units, np.full(num_units, 1 / num_units), size=min(step, self._num - begin))
            yield draws[:, self._units].astype(float)


def accuracies(judged: Judged, weights: Array) -> Array:
    return _means(judged.is_right, weights)


def balanced_accuracies(judged: Judged, weights: Array) -> Array:
    classes = np.unique(judged.gold)
    return _known_mean([_means(judged.is_right, weights * (judged.gold == label)) for label in classes])


def aurocs(judged: Judged, weights: Array) -> Array:
    """NaN if all weighted examples are of one class."""
    num_labels = judged.logprobs.shape[1]
    parts = []
    for label in range(num_labels) if num_labels > 2 else [1]:
        others = np.delete(judged.normalized, label, axis=1)
        odds = np.round(judged.normalized[:, label] - np.logaddexp.reduce(others, axis=1), DIGITS)
        parts.append(auroc(odds, judged.gold == label, weights))
    return _known_mean(parts)


def calibration_errors(judged: Judged, weights: Array) -> Array:
    return calibration_error(judged.probs.max(axis=1), judged.is_right, weights)


def briers(judged: Judged, weights: Array) -> Array:
    one_hot = np.eye(judged.logprobs.shape[1])[judged.gold]
    return _means(((judged.probs - one_hot) ** 2).sum(axis=1), weights)


FIGURES: dict[str, Callable[[Judged, Array], Array]] = {
    "accuracy": accuracies,
    "balanced_accuracy": balanced_accuracies,
    "auroc": aurocs,
    "ece": calibration_errors,
    "brier": briers,
}


def quality(judged: Judged, resamples: Resamples | None = None, *, is_grouped: bool = False) -> dict[str, Estimate]:
    """Every figure with its 95 % percentile-bootstrap interval; without `resamples`, intervals are NaN.

    Accuracy has Wilson's interval, unless examples are drawn in groups and so are not independent; see
    `Resamples.share`.
    """
    figures = {}
    for name, figure in FIGURES.items():
        value = point(figure, judged)
        values = np.concatenate([figure(judged, weights) for weights in resamples]) if resamples else np.array([np.nan])
        figures[name] = Estimate(value, *interval(values))
    if resamples:
        right, num = judged.is_right.astype(float), len(judged.gold)
        figures["accuracy"] = resamples.share(right, np.ones(num)) if is_grouped else wilson(float(right.sum()), num)
    return figures


def point(figure: Callable[[Judged, Array], Array], judged: Judged) -> float:
    """The metric itself, with weight one for every example."""
    return float(figure(judged, np.ones((1, len(judged.gold))))[0])


def interval(values: Array) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def gap_recovered(accuracies: Sequence[float], resampled: Sequence[Array]) -> Estimate:
    """Performance gap recovered, (ours - zero-shot) / (gold - zero-shot), of accuracies in the order zero-shot, ours,
    gold; `resampled` are paired resamples of each.

    The value is NaN if gold labels are no better than zero-shot, and its interval is NaN if the two cannot be separated
    (gold is no better in more than 2.5 % of the resamples).
    """
    zero, ours, gold = accuracies
    if gold <= zero:
        return Estimate(float("nan"), float("nan"), float("nan"))
    gaps = resampled[2] - resampled[0]
    if not len(gaps) or (gaps <= 0).mean() > 0.025:
        return Estimate((ours - zero) / (gold - zero), float("nan"), float("nan"))
    positive = gaps > 0
    shares = (resampled[1] - resampled[0])[positive] / gaps[positive]
    return Estimate((ours - zero) / (gold - zero), *interval(shares))


def _means(values: Array, weights: Array) -> Array:
    """Weighted means, NaN if all weights are 0."""
    with np.errstate(invalid="ignore"):
        means: Array = weights @ values / weights.sum(axis=1)
    return means


def _known_mean(parts: Sequence[Array]) -> Array:
    """The mean of the parts that are not NaN; NaN if all are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of an empty slice
        mean: Array = np.nanmean(np.array(parts), axis=0)
    return mean


def calibration_error(confidence: Array, is_right: Array, weights: Array) -> Array:
    """[r]: the ECE of predictions [n] of this confidence."""
    bins = np.clip(np.ceil(np.round(confidence * NUM_BINS, DIGITS)).astype(int) - 1, 0, NUM_BINS - 1)
    members = np.eye(NUM_BINS)[bins]
    errors = weights @ (members * (is_right - confidence)[:, None])
    total: Array = np.abs(errors).sum(axis=1) / weights.sum(axis=1)
    return total


def auroc(scores: Array, is_positive: npt.NDArray[np.bool_], weights: Array) -> Array:
    """[r]: the AUROC of one class against the rest, from the weights of both at each distinct score; NaN if one of them
    has no weight."""
    order = np.argsort(scores, kind="stable")
    rising, positive, ordered = scores[order], is_positive[order], weights[:, order]
    starts = np.flatnonzero(np.r_[True, rising[1:] > rising[:-1]])
    positives = np.add.reduceat(ordered * positive, starts, axis=1)
    negatives = np.add.reduceat(ordered * ~positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - 0.5 * negatives
    with np.errstate(invalid="ignore"):
        area: Array = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
    return area
