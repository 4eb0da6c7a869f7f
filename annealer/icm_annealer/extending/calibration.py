"""From log-probabilities behind contexts to scores whose labels have the core's rates.

What a row gets is fixed before the first row is labelled, by a sample of the whole file. So a label depends neither on
the rows around it nor on where chunks end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates, log_sums
from icm_annealer.core.objective import LabelScale, margins, normalized
from icm_annealer.search.base import KNOWN_GAIN

UNLIKE = 3.0
"""Standard deviations by which a row's label mass, in nats, is below the core's mean where it is unlike the core."""
LEAST_CLEAR = 0.02
"""The share of the core's rows whose margin is below that of a row that is listed as unclear."""


@dataclass(frozen=True)
class Calibration:
    """How scores are made. [context] stands for all contexts, the first one first."""

    order: list[int]
    """The contexts by how likely they make the core's own labels, the likeliest first; it is read by every row."""
    scales: list[LabelScale]
    """[context]: that of the sample behind it."""
    first_shift: Array
    """[label]: added to scores behind the first context alone."""
    shift: Array
    """[label]: added to mean scores behind all contexts."""
    unclear_below: float
    """Rows whose margin behind the first context is smaller are read behind all contexts."""

    @property
    def first(self) -> int:
        """The context that every row is read behind."""
        return self.order[0]

    @property
    def others(self) -> list[int]:
        return self.order[1:]

    def first_scores(self, logprobs: Array) -> Array:
        """Scores [row, label] from raw log-probabilities [row, label] behind the first context."""
        scores: Array = self.scales[self.first].scores(logprobs) + self.first_shift
        return scores

    def scores(self, logprobs: Array) -> Array:
        """Scores [row, label] from raw log-probabilities [context, row, label] behind all contexts."""
        scores: Array = _behind_each(self.scales, logprobs).mean(axis=0) + self.shift
        return scores

    def is_unclear(self, scores: Array) -> npt.NDArray[np.bool_]:
        """[row]: whether a row with these `first_scores` is read behind all contexts."""
        unclear: npt.NDArray[np.bool_] = margin(scores) < self.unclear_below
        return unclear


@dataclass(frozen=True)
class CoreFigures:
    """The core's own examples behind contexts that they are not in: what further rows are compared with."""

    num: int
    num_alike: int
    """How many get the label that they have in the core."""
    log_mass_below: float
    """Rows with less label mass, in nats, are unlike the core."""
    log_mass_mean: float
    log_mass_sd: float
    margin_below: float
    """Rows with a smaller margin are listed as unclear."""


def calibrated_by(
    sample: Array, known: Ints, core: Array, labels: Ints, rates: LabelRates, share_again: float, num_shared: int
) -> Calibration:
    """The calibration from raw log-probabilities of the `sample` [context, row, label] and of the `core` [context,
    example, label] (NaN behind contexts that an example is in), with the core's `labels` and those that are `known`
    in the sample (-1 where none is), which count for the rates. The first `num_shared` contexts are cheap: one of them
    comes first."""
    scales = [LabelScale.of(behind) for behind in sample]
    likely = [_log_likelihood(scores, labels) for scores in _behind_each(scales, core)]
    order = sorted(range(len(likely)), key=lambda number: (number >= num_shared, -likely[number]))
    scores = _behind_each(scales, sample)
    first = scores[order[0]]
    first_shift = rates.shifts(held_by(first, known))
    found = first[known < 0] if (known < 0).any() else first
    unclear_below = float(np.quantile(margin(found + first_shift), share_again)) if share_again else 0.0
    shift = rates.shifts(held_by(scores.mean(axis=0), known))
    return Calibration(order, scales, first_shift, shift, unclear_below)


def core_figures(calibration: Calibration, core: Array, labels: Ints, sample: Array) -> CoreFigures:
    """Of the core's raw log-probabilities [context, example, label], NaN behind contexts that an example is in; if
    there is none else, the limits are those of the `sample`."""
    scored = ~np.isnan(core[:, :, 0]).all(axis=0)
    left = core[:, scored] if scored.any() else sample
    scores = np.nanmean(_behind_each(calibration.scales, left), axis=0) + calibration.shift
    log_mass = np.nanmean(log_sums(left, 2)[:, :, 0], axis=0)
    mean, sd = float(log_mass.mean()), float(log_mass.std())
    return CoreFigures(
        int(scored.sum()),
        int((scores.argmax(axis=1) == labels[scored]).sum()) if scored.any() else 0,
        min(mean - UNLIKE * sd, float(log_mass.min())),
        mean,
        sd,
        float(np.quantile(margin(scores), LEAST_CLEAR)),
    )


def held_by(scores: Array, known: Ints) -> Array:
    """`scores` [row, label] by which the labels that are `known` (-1 where none is) are the best ones."""
    held: Array = scores + KNOWN_GAIN * (known[:, None] == np.arange(scores.shape[1]))
    return held


def margin(scores: Array) -> Array:
    """[row]: by how many nats the best label's score exceeds the next one's."""
    return margins(scores, scores.argmax(axis=1))


def _behind_each(scales: Sequence[LabelScale], logprobs: Array) -> Array:
    """Scores [context, row, label] without shifts, from raw log-probabilities of the same shape."""
    return np.stack([scale.scores(behind) for scale, behind in zip(scales, logprobs, strict=True)])


def _log_likelihood(scores: Array, labels: Ints) -> float:
    """The mean log-probability of labels, over the examples that have scores."""
    has = ~np.isnan(scores[:, 0])
    if not has.any():
        return 0.0
    return float(normalized(scores[has])[np.arange(has.sum()), labels[has]].mean())
