"""Counts connections: anonymous ones, which have not shown a key yet, and those of tenants. Pure: it opens nothing.

Anonymous connections cannot exhaust the limit. When all connections are in use, a new one displaces the oldest
anonymous connection of the address that has the most, so an address cannot displace another that has fewer. Connections
with a key are never displaced by anonymous ones, and tenants share three quarters of all connections (`shared_limit`).
A connection beyond its tenant's share is answered too, but may be displaced, and is closed after the answer.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from icm_server.sharing.shared_limit import SharedLimit

MOST_AT_ONCE = 128


class Guest(Protocol):
    """One connection."""

    def displace(self) -> None:
        """Closes it at once."""


class Connections:
    """At most `limit` connections, and at most `max_per_address` anonymous ones from one address.

    `shared=False`, without keys: all known connections count as one holder's, which may use all connections for
    tenants.
    """

    def __init__(self, limit: int, max_per_address: int, *, shared: bool):
        self._limit, self._max_per_address = limit, max_per_address
        self._strangers = _Strangers()
        self._known: dict[Guest, str] = {}
        self._shares = SharedLimit(max(1, limit * 3 // 4), shared=shared)
        self.num_displaced = 0

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    @property
    def at_once(self) -> int:
        """How many connections may be accepted before requests on earlier ones are read: a tenant that has not sent its
        key yet must not be displaced."""
        return max(1, min(MOST_AT_ONCE, (self._limit - self._shares.limit) // 8))

    def add(self, guest: Guest, address: str) -> None:
        """Adds an anonymous connection; displaces another if there is no room."""
        address = _network(address)
        if self._strangers.num_of(address) >= self._max_per_address:
            self._displace(self._strangers.oldest_of(address))
        while len(self) >= self._limit and self.displace_one():
            pass
        self._strangers.add(guest, address)

    def displace_one(self) -> bool:
        """Displaces an anonymous connection, if there is one."""
        oldest = self._strangers.oldest()
        if oldest is not None:
            self._displace(oldest)
        return oldest is not None

    def know(self, guest: Guest, holder: str) -> bool:
        """Assigns the connection to the holder whose key it has shown, and returns whether it is within the holder's
        share."""
        before = self._known.get(guest)
        if before == holder:
            return not self._shares.is_over(holder)
        if before is None and guest not in self._strangers:
            return False  # displaced in the meantime
        if not self._shares.take(holder, 1):
            return False
        if before is not None:  # a proxy sends several people's requests over one connection
            self._shares.give_back(before, 1)
        self._strangers.remove(guest)
        self._known[guest] = holder
        return True

    def remove(self, guest: Guest) -> None:
        """Removes a connection that has ended."""
        holder = self._known.pop(guest, None)
        if holder is None:
            self._strangers.remove(guest)
        else:
            self._shares.give_back(holder, 1)

    def _displace(self, guest: Guest) -> None:
        self.remove(guest)
        self.num_displaced += 1
        guest.displace()


class _Strangers:
    """Anonymous connections by address, in order of arrival. Every operation takes constant time."""

    def __init__(self) -> None:
        self._address_of: dict[Guest, str] = {}
        self._of: dict[str, dict[Guest, None]] = {}
        self._with: dict[int, dict[str, None]] = {}
        """Number of connections -> the addresses that have this many."""
        self._most = 0

    def __len__(self) -> int:
        return len(self._address_of)

    def __contains__(self, guest: Guest) -> bool:
        return guest in self._address_of

    def num_of(self, address: str) -> int:
        return len(self._of.get(address, ()))

    def oldest_of(self, address: str) -> Guest:
        return next(iter(self._of[address]))

    def oldest(self) -> Guest | None:
        """The oldest connection of an address that has the most."""
        return self.oldest_of(next(iter(self._with[self._most]))) if self._most else None

    def add(self, guest: Guest, address: str) -> None:
        self._address_of[guest] = address
        self._of.setdefault(address, {})[guest] = None
        self._count(address, self.num_of(address) - 1)

    def remove(self, guest: Guest) -> None:
        address = self._address_of.pop(guest, None)
        if address is None:
            return
        del self._of[address][guest]
        self._count(address, self.num_of(address) + 1)
        if not self._of[address]:
            del self._of[address]

    def _count(self, address: str, before: int) -> None:
        now = self.num_of(address)
        if before:
            del self._with[before][address]
            if not self._with[before]:
                del self._with[before]
        if now:
            self._with.setdefault(now, {})[address] = None
        if now > self._most or (before == self._most and before not in self._with):
            self._most = now


def _network(address: str) -> str:
    """What counts as one address: for IPv6 the /64 network, within which a client can choose its addresses freely."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))
