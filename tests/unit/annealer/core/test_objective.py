"""U against formulas worked out by hand, and what U must never reward."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.core.objective import MEASURES, Measure, Objective, calibrated, entropy

LOGPROBS = np.log(np.array([[0.6, 0.2], [0.1, 0.3], [0.5, 0.5]]))
LABELS = np.array([0, 1, 0])


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("logprob", (math.log(0.6) + math.log(0.3) + math.log(0.5)) / 3),
        ("sum", math.log(0.6) + math.log(0.3) + math.log(0.5)),
        ("margin", (math.log(3) + math.log(3) + 0.0) / 3),
        (
            "information",
            (math.log(0.75) + math.log(0.75) + math.log(0.5)) / 3 - (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)),
        ),
    ],
)
def test_formulas(measure: Measure, expected: float) -> None:
    assert Objective(measure).predictability(LOGPROBS, LABELS) == pytest.approx(expected)


def test_margin_is_to_the_best_other_label() -> None:
    logprobs = np.log(np.array([[0.5, 0.2, 0.1]]))
    assert Objective("margin").predictability(logprobs, np.array([2])) == pytest.approx(math.log(0.1 / 0.5))
    assert Objective("margin").predictability(logprobs, np.array([0])) == pytest.approx(math.log(0.5 / 0.2))


@pytest.mark.parametrize("measure", MEASURES)
def test_a_contradiction_costs_one_alphath(measure: Measure) -> None:
    objective = Objective(measure, alpha=20.0)
    without = objective.u(LOGPROBS, LABELS, 0)
    assert without == objective.predictability(LOGPROBS, LABELS)
    assert objective.u(LOGPROBS, LABELS, 3) == pytest.approx(without - 3 / 20)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**32))
def test_a_constant_labelling_has_no_information(num: int, num_labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logprobs = rng.normal(-2.0, 2.0, (num, num_labels))
    for label in range(num_labels):
        assert Objective("information").predictability(logprobs, np.full(num, label)) <= 1e-12


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(2, 6), st.integers(0, 2**32))
def test_information_ignores_the_mass_on_other_words(num: int, num_labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logprobs, labels = rng.normal(-2.0, 2.0, (num, num_labels)), rng.integers(num_labels, size=num)
    elsewhere = rng.normal(0.0, 3.0, (num, 1))
    objective = Objective("information")
    assert objective.predictability(logprobs + elsewhere, labels) == pytest.approx(
        objective.predictability(logprobs, labels)
    )


@pytest.mark.parametrize("num_labels", [2, 3, 26])
def test_information_of_certain_and_even_labels_is_the_whole_entropy(num_labels: int) -> None:
    labels = np.arange(num_labels)
    logprobs = np.where(np.eye(num_labels) > 0, 0.0, -1000.0)
    assert Objective("information").predictability(logprobs, labels) == pytest.approx(math.log(num_labels))


def test_entropy_of_rates() -> None:
    assert entropy(np.array([0, 0, 0]), 2) == 0.0
    assert entropy(np.array([0, 1]), 2) == pytest.approx(math.log(2))
    assert entropy(np.array([0, 1]), 5) == pytest.approx(math.log(2))


def test_calibration_removes_what_all_examples_share() -> None:
    biased = LOGPROBS + np.array([-7.0, 3.0])
    assert calibrated(biased) == pytest.approx(calibrated(LOGPROBS))
    assert calibrated(biased).mean(axis=0) == pytest.approx([0.0, 0.0])
    assert LOGPROBS[0, 0] == math.log(0.6)  # the input stays as it is
