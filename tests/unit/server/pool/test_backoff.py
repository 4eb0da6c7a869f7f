"""When a member is started again."""

from __future__ import annotations

from tests.hand_clock import HandClock

from icm_server.pool.backoff import MAX_WAIT_S, STEADY_S, Backoff


def test_at_once_then_ever_later_until_it_has_run_for_long() -> None:
    clock = HandClock()
    backoff = Backoff(clock)
    backoff.ended()
    waits = [backoff.wait_s]
    for _ in range(10):
        backoff.failed()
        waits.append(backoff.wait_s)
    assert waits[:5] == [0, 1, 2, 4, 8]
    assert waits[-1] == MAX_WAIT_S
    backoff.started()
    backoff.ended()  # at once: that it started proves nothing
    assert backoff.wait_s == MAX_WAIT_S
    backoff.started()
    clock.now += STEADY_S
    backoff.ended()
    assert backoff.wait_s == 0
