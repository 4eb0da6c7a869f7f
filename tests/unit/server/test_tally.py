"""What is counted: nothing is lost or counted twice, and there is a bound to how much is kept by name."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hand_clock import HandClock

from icm_server.history import WINDOW_S, History
from icm_server.tally import MAX_EXPERIMENTS, OTHERS, REQUEST_BOUNDS_S, Counts, Histogram, Tallies, quantile_s


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
    tallies = Tallies(HandClock())
    for number, reads in requests:
        tally = tallies.of(f"e{number}")
        tally.counts.reads += reads
        tally.outcomes["answered"] += 1
    assert tallies.total().counts == Counts(reads=sum(reads for _, reads in requests))
    assert tallies.total().outcomes == Counter(answered=len(requests))
    assert len(list(tallies)) <= MAX_EXPERIMENTS
    newest = list(dict.fromkeys(f"e{number}" for number, _ in reversed(requests)))[:MAX_EXPERIMENTS]
    assert {name for name, _ in tallies} == set(newest)


def test_experiments_with_open_requests_keep_their_names_and_newcomers_are_told_together() -> None:
    tallies = Tallies(HandClock())
    for number in range(MAX_EXPERIMENTS):
        tallies.of(f"e{number}").num_open += 1
    for number in range(3):
        tallies.of(f"new{number}").outcomes["answered"] += 1
    assert dict(tallies)[OTHERS].outcomes == Counter(answered=3)
    assert [name for name, _ in tallies][:-1] == [f"e{number}" for number in range(MAX_EXPERIMENTS)]
    tallies.of("e7").num_open -= 1
    tallies.of("new0").counts.reads += 1
    assert "new0" in tallies
    assert "e7" not in tallies


def test_lately_is_what_was_done_within_the_window() -> None:
    clock = HandClock()
    tallies = Tallies(clock)
    history = History(tallies)
    tally = tallies.of("a")
    for second in range(100):
        clock.now = 100.0 + second
        tally.counts.reads += 1
        tallies.reads_s.add(0.002)
        if second % 2:
            history.take()
    assert WINDOW_S <= history.seconds <= WINDOW_S + 2
    assert history.counts(tally).reads == sum(history.reads()) == history.seconds
    clock.now += 1
    late = tallies.of("late")
    late.counts.reads += 5
    assert history.counts(late).reads == 5
