"""Who holds a connection: strangers, who have shown no key yet, and the holders of keys. Pure: it opens nothing.

No number of strangers keeps anybody out. One who comes when all is full takes the place of another stranger: of the
address that has most of them the oldest connection, so one address can not push out another that has fewer. What has
shown a key is never displaced by strangers, and keys share three quarters of all connections (`shared_limit`); what a
key has beyond its share is answered all the same, but may be displaced, and is closed behind the answer.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from icm_server.sharing.shared_limit import SharedLimit

MOST_AT_ONCE = 128


class Guest(Protocol):
    """One connection."""

    def displace(self) -> None:
        """Ends it at once."""


class Connections:
    """At most `limit` at once, and `max_per_address` strangers of one address.

    `shared=False`, where there are no keys: those that are known count as one holder, who may have all that keys get.
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
        """How many may be let in before those inside are heard: who has a key to show yet must not be displaced."""
        return max(1, min(MOST_AT_ONCE, (self._limit - self._shares.limit) // 8))

    def add(self, guest: Guest, address: str) -> None:
        """One more, a stranger yet; others are displaced if there is no room."""
        address = _network(address)
        if self._strangers.num_of(address) >= self._max_per_address:
            self._displace(self._strangers.oldest_of(address))
        while len(self) >= self._limit and self.displace_one():
            pass
        self._strangers.add(guest, address)

    def displace_one(self) -> bool:
        """Ends a stranger's connection, if there is one."""
        oldest = self._strangers.oldest()
        if oldest is not None:
            self._displace(oldest)
        return oldest is not None

    def know(self, guest: Guest, holder: str) -> bool:
        """It is the holder's, who has shown a key on it; whether it is within the holder's share."""
        before = self._known.get(guest)
        if before == holder:
            return not self._shares.is_over(holder)
        if before is None and guest not in self._strangers:
            return False  # displaced meanwhile
        if not self._shares.take(holder, 1):
            return False
        if before is not None:  # a proxy sends many people's requests by one connection
            self._shares.give_back(before, 1)
        self._strangers.remove(guest)
        self._known[guest] = holder
        return True

    def remove(self, guest: Guest) -> None:
        """It has ended."""
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
    """Connections by address, in the order in which they came; all is done in the same time however many there are."""

    def __init__(self) -> None:
        self._address_of: dict[Guest, str] = {}
        self._of: dict[str, dict[Guest, None]] = {}
        self._with: dict[int, dict[str, None]] = {}
        """Number of connections -> the addresses that have as many."""
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
        """Of the address that has most."""
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
    """What counts as one address: of IPv6 the /64 network, in which everybody has as many addresses as they like."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))
