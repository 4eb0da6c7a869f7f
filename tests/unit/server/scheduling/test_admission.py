"""Requests are taken whole or refused whole, and a refusal says how long to wait by the rate that was measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hand_clock import HandClock

from icm_client import BusyError
from icm_client.contract.errors import TooLargeError
from icm_server.auth.tenant import Tenant
from icm_server.config import Limits
from icm_server.scheduling.admission import UNKNOWN_WAIT_S, Admission, Ticket


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
    assert str(known.value).startswith("queue limit reached: the scorer has 750 tokens queued of at most 1000, and ")
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
        admission.admit("b", 1).settle(1, 200)
    assert refused.value.retry_after_s == pytest.approx(200 / (100 / 2), rel=0.01)


def test_a_key_s_work_is_done_by_its_share_whatever_the_number_of_experiments() -> None:
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
    with pytest.raises(BusyError, match="this API key has 800 tokens") as refused:
        tickets[1].settle(4, 600)
    assert refused.value.retry_after_s == pytest.approx(200 / (90 / 2), rel=0.01)


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
    assert not admission.keys


def test_what_never_fits_is_refused_as_such() -> None:
    admission = Admission(Limits(max_prompts=10, max_tokens=100))
    with pytest.raises(TooLargeError, match="11 prompts"):
        admission.admit("a", 11)
    ticket = admission.admit("a", 10)
    with pytest.raises(TooLargeError, match="101 tokens"):
        ticket.settle(10, 101)
    ticket.close()
    assert admission.total.requests == 0


ALICE, BOB = Tenant(name="alice"), Tenant(name="bob")


def filled(admission: Admission, tenant: Tenant, reads: int, tokens: int) -> list[Ticket]:
    """As many requests of a key as are let in, each under a name that nobody has seen."""
    tickets: list[Ticket] = []
    for number in range(10_000):
        try:
            tickets.append(admission.admit(f"{tenant.name}-{number}", reads, tenant))
            tickets[-1].settle(reads, tokens)
        except BusyError:
            return tickets
    raise AssertionError("there is no limit")


def once_more(admission: Admission) -> None:
    for _ in range(2):
        admission.admit("alice-again", 4, ALICE).settle(4, 100)


@pytest.mark.parametrize(
    ("limits", "most"),
    [(Limits(max_requests=64), 32), (Limits(max_reads=400), 50), (Limits(max_tokens=6_400), 32)],
)
def test_one_key_cannot_have_another_one_s_requests_refused(limits: Limits, most: int) -> None:
    admission = Admission(limits, has_keys=True)
    heavy = filled(admission, ALICE, 4, 100)
    assert len([ticket for ticket in heavy if ticket.work.tokens]) == most
    for number in range(most // 4):
        admission.admit(f"{number}", 4, BOB).settle(4, 100)
    with pytest.raises(BusyError, match="queue limit reached: this API key has") as refused:
        once_more(admission)
    assert "bob" not in str(refused.value)


def test_without_keys_one_may_have_all() -> None:
    admission = Admission(Limits(max_requests=64))
    for _ in range(64):
        admission.admit("a", 1)
    with pytest.raises(BusyError, match="the scorer has 64 requests queued of at most 64"):
        admission.admit("b", 1)


def test_what_one_key_alone_could_never_have_is_refused_for_good() -> None:
    admission = Admission(Limits(max_reads=100, max_tokens=1_000), has_keys=True)
    assert admission.max_reads == 50
    with pytest.raises(TooLargeError, match="51 reads; the limit per request is 50"):
        admission.admit("a", 51, ALICE)
    with pytest.raises(TooLargeError, match="501 tokens; the limit per request is 500"):
        admission.admit("a", 50, ALICE).settle(50, 501)
    whole = Admission(Limits(max_reads=100, max_tokens=1_000), has_keys=True).admit("a", 50, ALICE)
    whole.settle(50, 500)
    assert (whole.work.reads, whole.work.tokens) == (50, 500)


def test_a_key_s_wait_is_by_what_it_has_to_be_done_of_and_its_share() -> None:
    clock = HandClock()
    admission = Admission(Limits(max_tokens=900), clock, has_keys=True)
    own, others = admission.admit("a", 9, ALICE), admission.admit("b", 9, BOB)
    own.settle(9, 300)
    others.settle(9, 300)
    for _ in range(3):
        clock.now += 1.0
        own.done(10)
        others.done(10)  # twenty tokens a second
    with pytest.raises(BusyError) as refused:
        admission.admit("a-2", 1, ALICE).settle(1, 120)
    assert refused.value.details == {"tokens": 120, "held": 270, "limit": 315}
    # 270 and 540 are held, and 240 more have to fit into 900: 150 too many, of which 10 + 20 a second go
    assert refused.value.retry_after_s == pytest.approx(150 / 30, rel=0.01)


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 40), st.integers(1, 30), st.integers(0, 300), st.booleans()),
    max_size=80,
)


@given(STEPS)
def test_what_is_held_adds_up_and_nobody_with_nothing_is_refused_a_little(
    steps: list[tuple[int, int, int, int, bool]],
) -> None:
    limits = Limits(max_requests=50, max_reads=300, max_tokens=3_000)
    admission = Admission(limits, has_keys=True)
    tickets: list[Ticket] = []
    for key, experiment, reads, tokens, closes in steps:
        if closes and tickets:
            tickets.pop(key % len(tickets)).close()
        try:
            ticket = admission.admit(f"e{experiment}", reads, Tenant(name=f"k{key}"))
        except BusyError:
            continue
        try:
            ticket.settle(reads, tokens)
            tickets.append(ticket)
        except BusyError:
            ticket.close()
        new = admission.admit("a", 1, Tenant(name="new"))
        new.settle(1, 10)
        new.close()
        for what in ("requests", "reads", "tokens"):
            held = sum(getattr(each.work, what) for each in tickets)
            assert held == getattr(admission.total, what) <= getattr(limits, f"max_{what}")
            assert held == sum(getattr(each.total, what) for each in admission.keys.values())
    for ticket in tickets:
        ticket.close()
    assert not admission.keys


@pytest.mark.parametrize("has_keys", [False, True])
def test_what_fits_whatever_is_asked_is_what_is_let_in(has_keys: bool) -> None:
    admission = Admission(Limits(max_requests=8), has_keys=has_keys)
    alice, bob = Tenant(name="alice"), Tenant(name="bob")
    tickets: list[Ticket] = []
    for tenant in [alice] * 9 + [bob] * 9:
        early = error_of(partial(admission.check_one_more, tenant))
        assert error_of(lambda: tickets.append(admission.admit("a", 1, tenant))) == early  # noqa: B023
    assert len(tickets) == (6 if has_keys else 8)


def error_of(ask: Callable[[], None]) -> tuple[str, float | None, object] | None:
    try:
        ask()
    except BusyError as error:
        return str(error), error.retry_after_s, error.details
    return None
