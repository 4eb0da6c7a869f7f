"""Requests are taken whole or refused whole, and a refusal says how long to wait by the rate that was measured."""

from __future__ import annotations

import pytest
from tests.hand_clock import HandClock

from icm_client import BusyError
from icm_client.errors import TooLargeError
from icm_server.admission import UNKNOWN_WAIT_S, Admission
from icm_server.config import Limits
from icm_server.tenant import Tenant


def test_the_wait_is_what_the_work_that_is_held_takes_at_the_measured_rate() -> None:
    clock = HandClock()
    admission = Admission(Limits(max_tokens=1000, max_experiment_tokens=800), clock)
    ticket = admission.admit("a", 10)
    ticket.settle(10, 800)
    with pytest.raises(BusyError) as unknown:
        admission.admit("b", 1).settle(1, 300)
    assert unknown.value.retry_after_s == UNKNOWN_WAIT_S
    for _ in range(5):
        clock.now += 1.0
        ticket.done(10)  # ten tokens a second
    with pytest.raises(BusyError) as known:
        admission.admit("b", 1).settle(1, 300)
    assert known.value.details == {"tokens": 300, "held": 750, "limit": 1000}
    assert known.value.retry_after_s == pytest.approx(50 / 10, rel=0.01)  # until 50 of the tokens held are done


def test_an_experiment_waits_longer_for_its_own_work_where_others_share_the_engine() -> None:
    clock = HandClock()
    admission = Admission(Limits(max_experiment_tokens=800), clock)
    tickets = [admission.admit(name, 8) for name in "ab"]
    for ticket in tickets:
        ticket.settle(8, 800)
    for _ in range(4):
        clock.now += 1.0
        tickets[0].done(100)
    with pytest.raises(BusyError, match="experiment 'b' has 800 tokens") as refused:
        tickets[1].settle(8, 1000)
    assert refused.value.retry_after_s == pytest.approx(200 / (100 / 2), rel=0.01)


def test_a_keys_work_is_done_by_all_of_its_experiments() -> None:
    clock = HandClock()
    admission = Admission(Limits(), clock)
    alice, bob = Tenant(name="alice", max_queued_tokens=800), Tenant(name="bob")
    tickets = [admission.admit(name, 4, alice) for name in ("alice", "alice-1")]
    for ticket in tickets:
        ticket.settle(4, 400)
    other = admission.admit("bob", 4, bob)
    other.settle(4, 400)
    for _ in range(4):
        clock.now += 1.0
        other.done(90)
    with pytest.raises(BusyError, match="the API key 'alice' has 800 tokens") as refused:
        tickets[1].settle(4, 600)
    assert refused.value.retry_after_s == pytest.approx(200 / (90 * 2 / 3), rel=0.01)


@pytest.mark.parametrize(
    ("limits", "held", "whose"),
    [
        (Limits(max_requests=1), "a", "the scorer has 1 requests"),
        (Limits(max_reads=5), "a", "the scorer has 4 reads"),
        (Limits(max_experiment_requests=1), "b", "experiment 'b' has 1 requests"),
        (Limits(max_experiment_reads=5), "b", "experiment 'b' has 4 reads"),
    ],
)
def test_what_does_not_fit_now_is_refused_whole_and_leaves_nothing(limits: Limits, held: str, whose: str) -> None:
    admission = Admission(limits)
    first = admission.admit(held, 4)
    with pytest.raises(BusyError, match=whose):
        admission.admit("b", 4)
    assert admission.total.requests == 1
    first.close()
    admission.admit("b", 4).close()
    assert not admission.by_experiment


def test_what_never_fits_is_told_so() -> None:
    admission = Admission(Limits(max_prompts=10, max_tokens=100))
    with pytest.raises(TooLargeError, match="11 prompts"):
        admission.admit("a", 11)
    ticket = admission.admit("a", 10)
    with pytest.raises(TooLargeError, match="101 tokens"):
        ticket.settle(10, 101)
    ticket.close()
    assert admission.total.requests == 0
