"""Who keeps a connection when there are too many: nobody is kept out, and nobody takes all."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_server.transport.connections import Connections
from icm_server.transport.descriptors import raise_limit, room_for_connections


class Guest:
    def __init__(self) -> None:
        self.is_here = True

    def displace(self) -> None:
        assert self.is_here
        self.is_here = False


def enter(connections: Connections, address: str, count: int = 1) -> list[Guest]:
    guests = [Guest() for _ in range(count)]
    for guest in guests:
        connections.add(guest, address)
    return guests


def here(guests: list[Guest]) -> int:
    return sum(guest.is_here for guest in guests)


def test_a_newcomer_takes_the_place_of_the_oldest_stranger() -> None:
    connections = Connections(10, 10, shared=True)
    guests = enter(connections, "a", 25)
    assert [guest.is_here for guest in guests] == [False] * 15 + [True] * 10
    assert (len(connections), connections.num_displaced) == (10, 15)


def test_an_address_displaces_its_own_first() -> None:
    connections = Connections(100, 5, shared=True)
    guests = enter(connections, "a", 8)
    assert [guest.is_here for guest in guests] == [False] * 3 + [True] * 5
    assert here(enter(connections, "b", 5)) == 5
    assert here(guests) == 5


def test_who_has_few_connections_keeps_them_beside_who_has_many() -> None:
    connections = Connections(40, 40, shared=True)
    few = enter(connections, "few", 2)
    for _ in range(50):
        for address in ("many", "more"):
            enter(connections, address)
    assert here(few) == 2


def test_what_has_shown_a_key_is_not_displaced() -> None:
    connections = Connections(40, 40, shared=True)
    known = enter(connections, "a", 10)
    assert all(connections.know(guest, "alice") for guest in known)
    enter(connections, "a", 200)
    assert here(known) == 10
    assert len(connections) == 40


def test_a_key_beyond_its_share_counts_as_a_stranger_there() -> None:
    connections = Connections(40, 40, shared=True)
    alice = enter(connections, "a", 20)
    assert sum(connections.know(guest, "alice") for guest in alice) == 15  # half of three quarters
    enter(connections, "a", 40)
    assert here(alice) == 15
    bob = enter(connections, "b", 5)
    assert all(connections.know(guest, "bob") for guest in bob)
    assert not connections.know(alice[0], "alice")  # over its share, now that there is another
    for guest in alice[:5]:
        connections.remove(guest)
    assert connections.know(alice[5], "alice")


def test_a_connection_goes_from_key_to_key() -> None:
    connections = Connections(40, 40, shared=True)
    (guest,) = enter(connections, "proxy")
    for name in ("alice", "bob") * 20:
        assert connections.know(guest, name)
    connections.remove(guest)
    assert all(connections.know(other, "bob") for other in enter(connections, "a", 15))


def test_without_keys_those_who_are_known_share_nothing() -> None:
    connections = Connections(40, 40, shared=False)
    known = enter(connections, "a", 30)
    assert all(connections.know(guest, "anyone") for guest in known)
    assert not connections.know(enter(connections, "b")[0], "anyone")
    enter(connections, "b", 100)
    assert here(known) == 30


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, is_same: bool) -> None:
    connections = Connections(10, 1, shared=True)
    guests = enter(connections, one) + enter(connections, other)
    assert guests[0].is_here is not is_same


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "know", "remove"]), st.integers(0, 40))),
    st.integers(2, 12),
    st.booleans(),
)
def test_counts_hold_whatever_happens(steps: list[tuple[str, str, int]], limit: int, shared: bool) -> None:
    connections = Connections(limit, limit, shared=shared)
    guests: list[Guest] = []
    for address, what, number in steps:
        if what == "add":
            guests += enter(connections, address)
        elif guests and what == "know":
            connections.know(guests[number % len(guests)], address)
        elif guests:
            gone = guests.pop(number % len(guests))
            connections.remove(gone)
            connections.remove(gone)
        assert len(connections) == here(guests) <= limit
    while connections.displace_one():
        pass
    for guest in guests:
        connections.remove(guest)
    assert len(connections) == 0
    assert here(enter(connections, "a", limit)) == limit


@pytest.mark.parametrize(
    ("num_requested", "descriptors", "found"),
    [(4096, 65536, 4096), (4096, 1024, 896), (4096, 256, 192), (10, 256, 10), (4096, 20, 1)],
)
def test_files_are_kept_for_others(num_requested: int, descriptors: int, found: int) -> None:
    assert room_for_connections(num_requested, descriptors) == found


def test_the_limit_of_files_is_raised_as_far_as_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 900), hard))
    try:
        assert raise_limit() == min(hard, 2**16) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
