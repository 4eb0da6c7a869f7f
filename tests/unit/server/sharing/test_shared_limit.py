"""A limit shared by dynamic thresholds: nobody takes all of it, and whoever comes next finds room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icm_server.sharing.shared_limit import fits, most_alone


@given(st.integers(1, 2000), st.integers(1, 8), st.integers(1, 7))
def test_the_greedy_share_alike_and_leave_as_much(limit: int, num_holders: int, step: int) -> None:
    held = [0] * num_holders
    while any(fits(step, own, sum(held), limit) for own in held):
        for number, own in enumerate(held):
            if fits(step, own, sum(held), limit):
                held[number] += step
    free = limit - sum(held)
    assert free >= 0
    if limit >= 2 * step * (num_holders + 1):
        assert max(held) - min(held) <= step
        assert free >= max(held)
        assert fits(step, 0, sum(held), limit)


@given(st.integers(1, 2000))
def test_one_alone_gets_half_however_it_asks(limit: int) -> None:
    held = 0
    while fits(1, held, held, limit):
        held += 1
    assert held == most_alone(limit)
    assert fits(most_alone(limit), 0, 0, limit)
    assert limit == 1 or not fits(most_alone(limit) + 1, 0, 0, limit)
