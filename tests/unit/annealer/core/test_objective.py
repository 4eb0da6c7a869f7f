"""U against formulas worked out by hand, and what U must never reward."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import (
    MEASURES,
    Measure,
    Objective,
    calibrated,
    entropy,
    even_posteriors,
    information,
    information_by_example,
    label_rates,
    normalized,
)

LOGPROBS = np.log(np.array([[0.6, 0.2], [0.1, 0.3], [0.5, 0.5]]))
LABELS = np.array([0, 1, 0])
NEAR = 2e-3
"""Nats by which U may be off: the iteration of the intercepts ends when a step is below 1e-5, and steps can shrink as
slowly as by 1 % each."""


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("logprob", (math.log(0.6) + math.log(0.3) + math.log(0.5)) / 3),
        ("sum", math.log(0.6) + math.log(0.3) + math.log(0.5)),
        ("margin", (math.log(3) + math.log(3) + 0.0) / 3),
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
@given(st.integers(2, 40), st.integers(2, 6), st.integers(0, 2**32))
def test_information_ignores_the_mass_on_other_words(num: int, num_labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logprobs, labels = rng.normal(-2.0, 2.0, (num, num_labels)), rng.integers(num_labels, size=num)
    elsewhere = rng.normal(0.0, 3.0, (num, 1))
    objective = Objective("information")
    assert objective.predictability(logprobs + elsewhere, labels) == pytest.approx(
        objective.predictability(logprobs, labels), abs=NEAR
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


def test_calibration_of_two_labels_shifts_them_only() -> None:
    logprobs = np.random.default_rng(0).normal(size=(20, 2)) * [1.0, 3.0]
    differences = logprobs[:, 0] - logprobs[:, 1]
    scores = calibrated(logprobs)
    assert scores[:, 0] - scores[:, 1] == pytest.approx(differences - differences.mean())


def test_a_label_about_which_the_model_is_lukewarm_keeps_its_examples() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(400) % 8
    scores = (3.0 * np.eye(8)[truth] + rng.normal(size=(400, 8))) * [3.0, *[1.0] * 6, 0.3]
    by_means, scaled = (found.argmax(axis=1) for found in (scores - scores.mean(axis=0), calibrated(scores)))
    assert (by_means == truth).mean() < 0.8
    assert (by_means[truth == 7] == 7).mean() < 0.3
    assert (scaled == truth).mean() > 0.85
    assert (scaled[truth == 7] == 7).mean() > 0.75


def test_calibration_of_the_same_scores_for_all_examples_is_zero() -> None:
    assert not calibrated(np.log(np.full((5, 3), [0.2, 0.3, 0.1]))).round(12).any()
    assert not calibrated(LOGPROBS[:1]).any()


def test_calibration_does_not_magnify_the_rounding_of_single_precision() -> None:
    logprobs = np.random.default_rng(0).normal(-20.0, 1.0, (50, 3))
    logprobs[:, 2] = logprobs[:, :2].mean(axis=1)  # whatever the example says, this label is in the middle
    scores = calibrated(logprobs.astype(np.float32).astype(float))
    assert scores[:, :2] == pytest.approx(calibrated(logprobs)[:, :2], abs=1e-5)
    assert np.abs(scores[:, 2]).max() < 1e-5


def test_fewer_examples_than_labels_are_only_shifted() -> None:
    scores = calibrated(np.log([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3]]))
    assert scores[0] == pytest.approx(-scores[1])
    # By the same spread of all labels, those that speak for an example would be equal.
    assert scores[1, 2] > scores[1, 1] > scores[1, 0]


def made(seed: int, num: int, num_labels: int, *, strength: float = 1.0) -> tuple[np.random.Generator, Array, Ints]:
    """Log-probabilities that speak for their labels, every label at least once."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.concatenate([np.arange(num_labels), rng.integers(num_labels, size=num - num_labels)]))
    logprobs = normalized(strength * np.eye(num_labels)[labels] + rng.normal(0.0, 1.0, (num, num_labels)))
    return rng, logprobs, labels


def slow_information(logprobs: Array, labels: Ints) -> float:
    """`information` of labels that all occur, with intercepts that maximise the likelihood by gradient ascent."""
    intercepts, rates = np.zeros(logprobs.shape[1]), label_rates(labels, logprobs.shape[1])
    for _ in range(20_000):
        gradient = rates - np.exp(normalized(logprobs + intercepts)).mean(axis=0)
        intercepts = intercepts + 4.0 * gradient  # the curvature of the mean is at most a half
        if np.abs(gradient).max() < 1e-10:
            break
    own = normalized(logprobs + intercepts - np.log(rates))[np.arange(len(labels)), labels]
    return float(np.mean([own[labels == label].mean() for label in range(len(rates))]) + math.log(len(rates)))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(10, 60))
def test_information_is_that_of_the_likeliest_intercepts(seed: int, num_labels: int, num: int) -> None:
    _, logprobs, labels = made(seed, num, num_labels)
    assert information(logprobs, labels) == pytest.approx(slow_information(logprobs, labels), abs=NEAR)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(10, 60))
def test_how_much_the_model_likes_a_label_word_changes_nothing(seed: int, num_labels: int, num: int) -> None:
    rng, logprobs, labels = made(seed, num, num_labels)
    biased = logprobs + rng.normal(0.0, 4.0, num_labels)
    assert information(biased, labels) == pytest.approx(information(logprobs, labels), abs=NEAR)
    assert even_posteriors(biased, labels) == pytest.approx(even_posteriors(logprobs, labels), abs=10 * NEAR)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(5, 20))
def test_at_even_rates_without_bias_it_is_the_mean_logprob_and_the_entropy(
    seed: int, num_labels: int, num_each: int
) -> None:
    """No bias: each label has as much probability in the mean as it has examples, so the intercepts are 0."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_labels), num_each)
    turns = np.array([np.roll(np.arange(num_labels), turn) for turn in range(num_labels)])
    one = normalized(rng.normal(0.0, 1.0, (num_each, num_labels)) + np.eye(num_labels)[0])
    logprobs = np.concatenate([one[:, turns[-label]] for label in range(num_labels)])
    assert np.exp(logprobs).mean(axis=0) == pytest.approx(np.full(num_labels, 1 / num_labels))
    before = logprobs[np.arange(len(labels)), labels].mean() + entropy(labels, num_labels)
    assert information(logprobs, labels) == pytest.approx(before, abs=1e-9)


def test_a_rare_label_that_is_predicted_well_beats_an_even_labelling_that_is_predicted_worse() -> None:
    """Nine of a hundred: by the mean log-probability and the entropy, the even labelling is ahead."""
    rare, even = (np.arange(100) < 9).astype(int), np.arange(100) % 2

    def us(labels: Ints, odds: float) -> tuple[float, float]:
        rate = labels.mean()
        log_odds = np.where(labels == 1, 1.0, -1.0) * math.log(odds) + math.log(rate / (1 - rate))
        logprobs = normalized(np.stack([np.zeros(100), log_odds], axis=1))
        own = logprobs[np.arange(100), labels]
        return information(logprobs, labels), float(own.mean() + entropy(labels, 2))

    of_rare, of_even = us(rare, odds=20.0), us(even, odds=5.0)
    assert of_rare[0] > of_even[0] + 0.05
    assert of_rare[1] < of_even[1]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**32))
def test_a_constant_labelling_scores_nothing(num: int, num_labels: int, seed: int) -> None:
    """However far apart its examples are predicted."""
    logprobs = np.random.default_rng(seed).normal(-2.0, 3.0, (num, num_labels))
    for label in range(num_labels):
        assert information(logprobs, np.full(num, label)) == 0.0


def test_a_label_without_examples_adds_nothing() -> None:
    labels = np.arange(40) % 2
    logprobs = np.log(np.where(np.eye(2)[labels] > 0, 0.9, 0.1))
    with_third = np.hstack([logprobs, np.random.default_rng(0).normal(-3.0, 3.0, (40, 1))])
    assert information(with_third, labels) == pytest.approx(2 / 3 * information(logprobs, labels), abs=NEAR)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("labels", [[0], [1], [0, 0], [0, 1], [2, 1]])
def test_one_or_two_examples_give_numbers(labels: list[int]) -> None:
    logprobs = normalized(np.random.default_rng(1).normal(0.0, 3.0, (len(labels), 3)))
    by_example = information_by_example(logprobs, np.array(labels))
    assert by_example.shape == (len(labels),)
    assert np.isfinite(by_example).all()
    assert information(logprobs, np.array(labels)) <= math.log(3)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(5, 60))
def test_u_is_the_mean_of_what_the_examples_contribute(seed: int, num_labels: int, num: int) -> None:
    _, logprobs, labels = made(seed, num, num_labels)
    contributions = information_by_example(logprobs, labels)
    assert contributions.mean() == pytest.approx(Objective("information").u(logprobs, labels, 0))
    own = even_posteriors(logprobs, labels)[np.arange(num), labels] + math.log(num_labels)
    by_label = [own[labels == label].mean() for label in range(num_labels)]
    assert contributions.mean() == pytest.approx(np.mean(by_label))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(1, 12), st.integers(0, 2**32))
def test_each_context_has_intercepts_of_its_own(num: int, num_more: int, seed: int) -> None:
    """Of two contexts of equally many labels, the measure is the mean of theirs; a bias of one changes nothing."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 0, 1], [num_more, num, num_more, num])
    contexts = np.repeat([0, 1], num + num_more)
    logprobs = rng.normal(-2.0, 1.0, (len(labels), 2)) + np.eye(2)[labels]
    shuffled = rng.permutation(len(labels))
    logprobs, labels, contexts = logprobs[shuffled], labels[shuffled], contexts[shuffled]
    halves = [slow_information(logprobs[contexts == half], labels[contexts == half]) for half in (0, 1)]
    assert information(logprobs, labels, contexts) == pytest.approx(np.mean(halves), abs=NEAR)
    assert information(logprobs, labels) == pytest.approx(slow_information(logprobs, labels), abs=NEAR)
    biased = logprobs + np.outer(contexts, [0.0, 3.0])
    assert information(biased, labels, contexts) == pytest.approx(information(logprobs, labels, contexts), abs=NEAR)


def test_a_bias_of_one_context_costs_nothing_only_if_contexts_are_told_apart() -> None:
    labels, contexts = np.tile([0, 1], 20), np.repeat([0, 1], 20)
    logprobs = np.log(np.where(np.eye(2)[labels] > 0, 0.8, 0.2))
    biased = logprobs + np.outer(contexts, [0.0, 3.0])
    assert information(biased, labels, contexts) == pytest.approx(information(logprobs, labels), abs=NEAR)
    assert information(biased, labels) < information(logprobs, labels) - 0.1


def test_a_label_that_is_missing_behind_a_context_says_nothing_there() -> None:
    labels, contexts = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    logprobs = np.where(np.eye(2)[labels] > 0, 0.0, -1000.0)
    gains = information_by_example(logprobs, labels, contexts)
    assert gains[:2].tolist() == [0.0, 0.0]
    assert gains.mean() == pytest.approx((math.log(2) / 3 + math.log(2)) / 2)
    assert information(logprobs, np.zeros(4, dtype=np.int64), contexts) == 0.0
