"""Shifts of scores to stated label rates."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import TOLERANCE, LabelRates, smoothed_shifts

SEEDS = st.integers(0, 2**32 - 1)


def made(seed: int, num: int, num_labels: int, spread: float = 3.0) -> tuple[np.random.Generator, Array]:
    rng = np.random.default_rng(seed)
    return rng, rng.normal(0.0, spread, (num, num_labels))


def counts_of(scores: Array, shift: Array) -> Ints:
    counts: Ints = np.bincount((scores + shift).argmax(axis=1), minlength=scores.shape[1])
    return counts


def num_close(scores: Array, shift: Array, nats: float) -> int:
    """The number of examples whose two best labels are at most this far apart, once shifted."""
    ranked = np.sort(scores + shift, axis=1)
    return int((ranked[:, -1] - ranked[:, -2] <= nats).sum())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("nats", [1.0, 100.0, 1e6])
def test_rates_are_met_however_far_scores_lie_apart(nats: float) -> None:
    """Beyond 700 nats over the temperature, a number's exponential overflows."""
    scores = np.random.default_rng(0).normal(size=(40, 2)) + np.array([nats, 0.0])
    labels = (scores + LabelRates.even(2).shifts(scores)).argmax(axis=1)
    assert np.bincount(labels).tolist() == [20, 20]


@pytest.mark.filterwarnings("error")
def test_rates_that_cannot_be_met_give_numbers() -> None:
    scores = np.array([[1e6, 0.0], [1e6, 0.0], [0.0, 1e6]])
    assert np.isfinite(LabelRates.even(2).shifts(scores)).all()


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 5), st.integers(20, 100))
def test_exact_rates_are_met_but_for_examples_between_two_labels(seed: int, num_labels: int, num: int) -> None:
    rng, scores = made(seed, num, num_labels)
    rates = rng.dirichlet(np.ones(num_labels))
    shift = LabelRates(rates, rates).shifts(scores)
    # An example more than 0.3 nats, ten temperatures of the last stage, from another label belongs to it by less than
    # e^-10; the others can be on either side.
    allowed = 1 + num_close(scores, shift, 0.3)
    assert np.abs(counts_of(scores, shift) - num * rates).max() <= allowed


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 4))
def test_shares_are_moved_into_ranges_and_left_alone_within_them(seed: int, num_labels: int) -> None:
    rng, scores = made(seed, 60, num_labels)
    low = rng.dirichlet(np.ones(num_labels)) * 0.7
    high = np.minimum(low + 0.4, 1.0)
    shift = LabelRates(low, high).shifts(scores)
    allowed = 1 + num_close(scores, shift, 0.3)
    counts = counts_of(scores, shift)
    assert (counts >= 60 * low - allowed).all()
    assert (counts <= 60 * high + allowed).all()
    everything = LabelRates(np.zeros(num_labels), np.ones(num_labels))
    assert not everything.shifts(scores).any()


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 5))
def test_smoothed_shares_are_the_rates_at_infinite_strength_and_free_at_none(seed: int, num_labels: int) -> None:
    rng, scores = made(seed, 80, num_labels, spread=1.0)
    rates = 0.05 + 0.95 * rng.dirichlet(np.ones(num_labels))
    rates /= rates.sum()
    exact = LabelRates(rates, rates)

    def divergence(strength: float) -> float:
        """How far the smoothed shares lie from the rates."""
        shifted = scores + smoothed_shifts(scores, exact, 1.0, strength)
        shares = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        return float(np.abs(shares.mean(axis=0) - rates).max())

    assert divergence(np.inf) < 100 * TOLERANCE
    assert not smoothed_shifts(scores, exact, 1.0, strength=0.0).any()
    assert divergence(np.inf) <= divergence(3.0) <= divergence(0.3) <= divergence(0.0)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(2, 5))
def test_what_all_examples_share_changes_no_label_at_exact_rates(seed: int, num_labels: int) -> None:
    rng, scores = made(seed, 50, num_labels)
    rates = 0.05 + rng.dirichlet(np.ones(num_labels))
    exact = LabelRates(rates / rates.sum(), rates / rates.sum())
    biased = scores + rng.normal(0.0, 5.0, num_labels)
    one, other = (s + smoothed_shifts(s, exact, 1.0) for s in (scores, biased))
    # Alike up to a constant of all labels.
    assert one - one.mean(axis=1, keepdims=True) == pytest.approx(other - other.mean(axis=1, keepdims=True), abs=1e-3)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_the_order_of_examples_between_two_labels_stays(seed: int) -> None:
    _, scores = made(seed, 30, 3)
    shifted = scores + LabelRates.even(3).shifts(scores)
    for one, other in itertools.combinations(range(3), 2):
        before, after = (s[:, one] - s[:, other] for s in (scores, shifted))
        assert before.argsort().tolist() == after.argsort().tolist()


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([(3, 3), (2, 4), (1, 5), (2, 2, 2), (1, 2, 3), (4, 1, 1)]))
def test_no_other_labels_with_the_same_counts_have_a_higher_total(seed: int, wanted: tuple[int, ...]) -> None:
    _, scores = made(seed, sum(wanted), len(wanted), spread=10.0)
    rates = np.array(wanted) / sum(wanted)
    shift = LabelRates(rates, rates).shifts(scores)
    found = (scores + shift).argmax(axis=1)
    counts = np.bincount(found, minlength=len(wanted)).tolist()
    rows = np.arange(len(scores))
    best = max(
        scores[rows, list(labels)].sum()
        for labels in itertools.product(range(len(wanted)), repeat=len(scores))
        if np.bincount(labels, minlength=len(wanted)).tolist() == counts
    )
    assert scores[rows, found].sum() == pytest.approx(best)
    # At distances that no smoothing bridges, the counts are those stated.
    if not num_close(scores, shift, 0.3):
        assert counts == list(wanted)


@pytest.mark.slow
def test_many_examples_and_labels_take_seconds() -> None:
    """About 3 s of one core: a cost that grew with the square of the examples would take minutes."""
    _, scores = made(0, 5000, 50)
    before = time.process_time()
    shift = LabelRates.even(50).shifts(scores)
    assert time.process_time() - before < 30
    assert np.abs(counts_of(scores, shift) - 100).max() <= 20
