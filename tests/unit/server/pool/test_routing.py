"""Which member makes a read: parts keep their members, and no member gets far more than the others."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from icm_server.engines.base import Part
from icm_server.pool.routing import BOUND, IDLE, Routing, preferred

LOADS = st.dictionaries(st.integers(0, 15), st.integers(0, 10**6), min_size=1, max_size=16)


@given(LOADS, st.binary(max_size=8), st.integers(0, 20), st.integers(1, 10**5))
def test_a_new_part_goes_to_no_member_above_the_bound(
    loads: dict[int, int], key: bytes, number: int, prompt_tokens: int
) -> None:
    placed = Routing().place(Part(key, number), prompt_tokens, loads)
    least = min(loads.values())
    mean = sum(loads.values()) / len(loads)
    assert loads[placed.member] <= max(BOUND * mean, least + prompt_tokens / 2)
    assert loads[placed.member] == least or placed.member == preferred(Part(key, number), loads)[0]
    assert not placed.has_prefix


@given(LOADS, LOADS, st.integers(1, 10**5))
def test_a_part_at_work_moves_only_to_an_idle_member(
    before: dict[int, int], loads: dict[int, int], prompt_tokens: int
) -> None:
    routing, part = Routing(), Part(b"a", 0)
    first = routing.place(part, prompt_tokens, before).member
    placed = routing.place(part, prompt_tokens, loads)
    assert placed.has_prefix == (placed.member == first)
    if first in loads and placed.member != first:
        assert loads[placed.member] <= IDLE * sum(loads.values()) / len(loads)
        assert loads[first] > loads[placed.member] + prompt_tokens


def test_parts_of_one_request_go_to_different_members_and_a_lost_member_moves_only_its_own() -> None:
    idle = dict.fromkeys(range(8), 0)
    keys = [str(number).encode() for number in range(400)]
    for key in keys:
        assert len({preferred(Part(key, number), idle)[0] for number in range(8)}) == 8
    homes = {key: preferred(Part(key, 0), idle)[0] for key in keys}
    assert max(Counter(homes.values()).values()) < 2 * len(keys) / 8
    left = dict.fromkeys(range(7), 0)
    assert all(preferred(Part(key, 0), left)[0] == home for key, home in homes.items() if home != 7)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(range(3), st.integers(0, 10**6))), min_size=3, max_size=3))
def test_parts_of_one_request_stay_apart_whatever_the_loads(loads: list[dict[int, int]]) -> None:
    routing = Routing()
    assert {routing.place(Part(b"a", number), 10**9, loads[number]).member for number in range(3)} == {0, 1, 2}


def test_what_is_remembered_is_bounded() -> None:
    routing = Routing(max_keys=3)
    for number in range(5):
        routing.place(Part(b"%d" % number, 0), 1, {0: 0})
    assert [routing.place(Part(b"%d" % number, 0), 1, {0: 0}).has_prefix for number in (4, 0)] == [True, False]
