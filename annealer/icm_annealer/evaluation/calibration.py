"""Calibration of predictions on a test set: to equal means and spreads, or to stated label rates."""

from __future__ import annotations

from icm_annealer.core.arrays import Array
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import calibrated
from icm_annealer.data.rates import Rates, rates_text


def calibrated_to(rates: LabelRates | None, logprobs: Array) -> Array:
    """`logprobs` [example, label], `calibrated` and, where rates are stated, then shifted so that the labels occur at
    them."""
    scores = calibrated(logprobs)
    return scores if rates is None else scores + rates.shifts(scores)


def describe_calibration(rates: Rates | None) -> str:
    """What `calibrated_to` does to predictions, for a caption."""
    if not rates:
        return "over the test examples, all labels have the same mean and the same spread"
    return (
        f"each label is shifted so that labels occur in the test set at the rates stated or found ({rates_text(rates)})"
    )
