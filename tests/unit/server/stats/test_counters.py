"""What is counted: nothing is lost or counted twice, and there is a bound to how much is kept by name."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hand_clock import HandClock

from icm_server.auth.tenant import ExperimentId
from icm_server.stats.counters import (
    MAX_EXPERIMENTS,
    MAX_KEYS,
    OTHERS,
    REQUEST_BOUNDS_S,
    Counters,
    Counts,
    Histogram,
    quantile_s,
)
from icm_server.stats.history import WINDOW_S, History


def id_of(experiment: str) -> ExperimentId:
    return ExperimentId("key", experiment)


@given(st.lists(st.floats(0, 2000)))
def test_a_histogram_counts_each_duration_where_it_belongs(durations: list[float]) -> None:
    histogram = Histogram(REQUEST_BOUNDS_S)
    for seconds in durations:
        histogram.add(seconds)
    below = [sum(seconds <= bound for seconds in durations) for bound in REQUEST_BOUNDS_S]
    assert [sum(histogram.counts[: k + 1]) for k in range(len(below))] == below
    assert sum(histogram.counts) == len(durations)
    assert histogram.sum_s == pytest.approx(sum(durations))


@given(st.lists(st.floats(0.001, 800), min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_as_near_as_the_bounds_allow(durations: list[float], part: float) -> None:
    histogram = Histogram(REQUEST_BOUNDS_S)
    for seconds in durations:
        histogram.add(seconds)
    found = quantile_s(histogram.bounds, histogram.counts, part)
    assert found is not None
    exact = sorted(durations)[max(0, -int(-part * len(durations) // 1) - 1)]
    edges = [0.0, *REQUEST_BOUNDS_S]
    lower = max(edge for edge in edges if edge < exact)
    upper = min(edge for edge in edges if edge >= exact)
    assert lower <= found <= upper


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile_s(REQUEST_BOUNDS_S, Histogram(REQUEST_BOUNDS_S).counts, 0.5) is None


@given(st.lists(st.tuples(st.integers(0, 2 * MAX_EXPERIMENTS), st.integers(0, 9)), max_size=400))
def test_the_total_is_of_all_whatever_is_kept_by_name(requests: list[tuple[int, int]]) -> None:
    counters = Counters(HandClock())
    for number, reads in requests:
        entry = counters.of(id_of(f"e{number}"))
        entry.counts.reads += reads
        entry.outcomes["answered"] += 1
    assert counters.total().counts == Counts(reads=sum(reads for _, reads in requests))
    assert counters.total().outcomes == Counter(answered=len(requests))
    assert len(list(counters)) <= MAX_EXPERIMENTS
    newest = list(dict.fromkeys(f"e{number}" for number, _ in reversed(requests)))[:MAX_EXPERIMENTS]
    assert {experiment_id for experiment_id, _ in counters} == set(map(id_of, newest))


def test_experiments_with_open_requests_keep_their_names_and_newcomers_are_counted_together() -> None:
    counters = Counters(HandClock())
    for number in range(MAX_EXPERIMENTS):
        counters.of(id_of(f"e{number}")).num_open += 1
    for number in range(3):
        counters.of(id_of(f"new{number}")).outcomes["answered"] += 1
    assert dict(counters)[id_of(OTHERS)].outcomes == Counter(answered=3)
    assert [experiment_id for experiment_id, _ in counters][:-1] == [
        id_of(f"e{number}") for number in range(MAX_EXPERIMENTS)
    ]
    counters.of(id_of("e7")).num_open -= 1
    counters.of(id_of("new0")).counts.reads += 1
    assert counters.shown_as(id_of("new0")) == id_of("new0")
    assert counters.shown_as(id_of("e7")) == id_of(OTHERS)


def test_a_key_that_uses_many_names_pushes_out_no_other_key_s() -> None:
    counters = Counters(HandClock())
    counters.of(ExperimentId("quiet", "paper")).counts.reads += 3
    for number in range(10 * MAX_EXPERIMENTS):
        counters.of(ExperimentId("loud", f"e{number}")).counts.reads += 1
    assert dict(counters)[ExperimentId("quiet", "paper")].counts.reads == 3
    assert len(list(counters)) == 1 + MAX_EXPERIMENTS
    assert [counters.total(key).counts.reads for key in ("quiet", "loud", "nobody")] == [3, 10 * MAX_EXPERIMENTS, 0]


@given(st.lists(st.tuples(st.integers(0, 2 * MAX_KEYS), st.integers(0, 2), st.booleans()), max_size=600))
def test_keys_counted_by_name_are_bounded_and_nothing_is_lost(requests: list[tuple[int, int, bool]]) -> None:
    counters = Counters(HandClock())
    for key, experiment, stays_open in requests:
        entry = counters.of(ExperimentId(f"k{key}", f"e{experiment}"))
        entry.counts.reads += 1
        entry.outcomes["answered"] += not stays_open
        entry.num_open += stays_open
    assert counters.total().counts.reads == len(requests)
    assert counters.total().num_open == sum(stays_open for *_, stays_open in requests)
    assert len({experiment_id.tenant for experiment_id, _ in counters}) <= MAX_KEYS + 1
    assert {
        counters.shown_as(ExperimentId(f"k{key}", f"e{experiment}")) for key, experiment, open in requests if open
    } <= set(dict(counters))


def test_lately_is_what_was_done_within_the_window() -> None:
    clock = HandClock()
    counters = Counters(clock)
    history = History(counters)
    entry = counters.of(id_of("a"))
    for second in range(100):
        clock.now = 100.0 + second
        entry.counts.reads += 1
        counters.reads_s.add(0.002)
        if second % 2:
            history.take()
    assert WINDOW_S <= history.seconds <= WINDOW_S + 2
    assert history.counts(entry).reads == sum(history.reads()) == history.seconds
    clock.now += 1
    late = counters.of(id_of("late"))
    late.counts.reads += 5
    assert history.counts(late).reads == 5
