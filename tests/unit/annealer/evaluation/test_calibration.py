"""Calibration of predictions to stated label rates."""

from __future__ import annotations

import numpy as np
import pytest

from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import calibrated
from icm_annealer.evaluation.calibration import calibrated_to, describe_calibration
from icm_annealer.evaluation.many_shot import Predictions
from icm_annealer.evaluation.run_evaluation import Shots
from icm_client.contract.wire import Usage

LOGPROBS = -np.random.default_rng(0).exponential(2.0, size=(200, 3))


def test_predictions_have_the_stated_rates_and_keep_their_order() -> None:
    rates = LabelRates(np.array([0.1, 0.0, 0.0]), np.array([0.1, 1.0, 1.0]))
    scores = calibrated_to(rates, LOGPROBS)
    assert np.bincount(scores.argmax(axis=1))[0] == pytest.approx(20, abs=2)
    shifts = scores - calibrated(LOGPROBS)
    assert np.ptp(shifts, axis=0) == pytest.approx(0.0)
    assert shifts[0, 1] == pytest.approx(shifts[0, 2])  # labels without a rate stay as calibration left them
    predictions = Predictions(LOGPROBS, Usage(), rates=rates)
    assert predictions.calibrated.tolist() == scores.argmax(axis=1).tolist()


def test_without_rates_all_labels_are_calibrated_alike() -> None:
    assert (calibrated_to(None, LOGPROBS) == calibrated(LOGPROBS)).all()
    assert "the same mean" in describe_calibration({})
    assert describe_calibration({"spam": (0.1, 0.2)}).endswith("(spam 0.1 to 0.2)")


def test_known_labels_are_no_merit() -> None:
    found, gold = np.array([0, 1, 1, 0]), np.array([0, 1, 0, -1])
    is_known = np.array([True, False, False, False])
    accuracy = Shots([], found, np.ones(len(found)), gold, is_known).label_accuracy
    assert accuracy is not None
    assert accuracy.value == 0.5
    assert Shots([], found, np.ones(len(found)), gold, np.ones(4, dtype=bool)).label_accuracy is None
