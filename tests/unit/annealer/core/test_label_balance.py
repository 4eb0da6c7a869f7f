"""Shifts of scores to stated label rates."""

from __future__ import annotations

import numpy as np
import pytest

from icm_annealer.core.label_balance import LabelRates


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("nats", [1.0, 100.0, 1e6])
def test_rates_are_met_however_far_scores_lie_apart(nats: float) -> None:
    """Beyond 700 nats over the temperature, a number's exponential is none any more."""
    scores = np.random.default_rng(0).normal(size=(40, 2)) + np.array([nats, 0.0])
    labels = (scores + LabelRates.even(2).shifts(scores)).argmax(axis=1)
    assert np.bincount(labels).tolist() == [20, 20]


@pytest.mark.filterwarnings("error")
def test_rates_that_cannot_be_met_give_numbers() -> None:
    scores = np.array([[1e6, 0.0], [1e6, 0.0], [0.0, 1e6]])
    assert np.isfinite(LabelRates.even(2).shifts(scores)).all()
