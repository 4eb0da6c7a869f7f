"""A lock that tenants share fairly, and for which small requests do not wait for large ones.

Parsing and tokenizing a large request takes seconds, in steps of some hundredths of a second; each step holds the lock.
The tenant that has held it for the least time, by weight, is next (start-time fair queueing); one that comes back after
a pause starts even with the tenant whose turn it is. Within a tenant each request has a due time, its arrival plus a
time that grows with its size, and the earliest is next: small requests overtake large ones, and none waits for ever.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from icm_server.auth.tenant import Tenant

DUE_S = 0.001
"""How much later a request is due for each of its texts, prefixes and prompts: much more than it takes."""
DUE_CHARS = 1000
"""So many characters count like one more."""


class Place(NamedTuple):
    """Where a request stands, for all its turns."""

    tenant: Tenant
    due: float
    number: int


class _Waiting(NamedTuple):
    """For one turn; in the order of `due`, then of `number`, which no two have."""

    due: float
    number: int
    mine: asyncio.Future[None]
    tenant: Tenant


@dataclass(eq=False, slots=True)
class _Key:
    used_s: float
    """Over its weight."""
    waiting: list[_Waiting] = field(default_factory=list)


class FairLock:
    """Use it in one event loop. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        """Those who wait, and those who have had more than the one whose turn it is."""
        self._start_s = 0.0
        """What the one had had whose turn it is."""
        self._numbers = itertools.count()
        self._holder: Tenant | None = None
        self._held_since = 0.0

    def place(self, tenant: Tenant, size: int, num_chars: int = 0) -> Place:
        """For a request that comes now. `size`: how many texts, prefixes and prompts; `num_chars`: of the texts."""
        due = self._clock() + DUE_S * (size + num_chars / DUE_CHARS)
        return Place(tenant, due, next(self._numbers))

    @asynccontextmanager
    async def holding(self, place: Place) -> AsyncIterator[None]:
        """Waits for the lock, and holds it until the context is left."""
        await self.acquire(place)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, place: Place) -> None:
        """Waits for the lock. Call `release` afterwards, or `reacquire`."""
        if self._holder is None:
            self._begin(place.tenant)  # nobody waits, else the turn would have been passed on
        else:
            await self._mine(self._waiting(place))

    async def reacquire(self, place: Place) -> None:
        """Releases the lock and waits for it again: not at all, if this request is still due before all others."""
        mine = self._waiting(place)
        self.release()
        await self._mine(mine)

    def _waiting(self, place: Place) -> asyncio.Future[None]:
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._key(place.tenant).waiting, _Waiting(place.due, place.number, mine, place.tenant))
        return mine

    async def _mine(self, mine: asyncio.Future[None]) -> None:
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Charges the time to the tenant that held it, and gives it to the next one."""
        holder = self._holder
        assert holder is not None
        self._keys[holder.name].used_s += (self._clock() - self._held_since) / holder.weight
        self._holder = None
        for key in self._keys.values():
            while key.waiting and key.waiting[0].mine.done():  # given up
                heapq.heappop(key.waiting)
        waiting = [key for key in self._keys.values() if key.waiting]
        if waiting:
            key = min(waiting, key=lambda key: (key.used_s, key.waiting[0][:2]))
            first = heapq.heappop(key.waiting)
            self._begin(first.tenant)
            first.mine.set_result(None)  # the turn stays taken, by whoever wakes up now
        # Whoever has had no more than the one whose turn it is would begin even with it anyway.
        self._keys = {
            name: key
            for name, key in self._keys.items()
            if key.waiting or key.used_s > self._start_s or (self._holder is not None and name == self._holder.name)
        }

    def _begin(self, tenant: Tenant) -> None:
        key = self._key(tenant)
        self._start_s = max(self._start_s, key.used_s)
        self._holder, self._held_since = tenant, self._clock()

    def _key(self, tenant: Tenant) -> _Key:
        """Whoever comes back is no further behind than the one whose turn it is."""
        key = self._keys.setdefault(tenant.name, _Key(self._start_s))
        key.used_s = max(key.used_s, self._start_s)
        return key
