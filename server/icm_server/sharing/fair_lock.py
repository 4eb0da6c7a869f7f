"""A lock that tenants share fairly, and for which small requests do not wait for large ones.

Parsing and tokenizing a large request takes seconds, in steps of tens of milliseconds; each step holds the lock. The
tenant that has held it for the least time, by weight, is next (start-time fair queueing). A tenant that returns after a
pause starts level with the tenant whose turn it is. Within a tenant, each request has a due time: its arrival plus a
time that grows with its size. The earliest is next, so small requests overtake large ones and no request waits for
ever.
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
"""A request's due time is later by this for each of its texts, prefixes and prompts; the work takes much less."""
DUE_CHARS = 1000
"""This many characters count as one more text."""


class Place(NamedTuple):
    """A request's place in the queue, for all its turns."""

    tenant: Tenant
    due: float
    number: int


class _Waiting(NamedTuple):
    """A request that waits for its next turn. Sorted by `due`, then by `number`, which is unique."""

    due: float
    number: int
    turn: asyncio.Future[None]
    tenant: Tenant


@dataclass(eq=False, slots=True)
class _Key:
    used_s: float
    """Seconds that it has held the lock, divided by its weight."""
    waiting: list[_Waiting] = field(default_factory=list)


class FairLock:
    """Use it in one event loop. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        """Tenants that wait, and those that have used more than the tenant whose turn it is."""
        self._start_s = 0.0
        """The time used by the tenant whose turn it is, when its turn began."""
        self._numbers = itertools.count()
        self._holder: Tenant | None = None
        self._held_since = 0.0

    def place(self, tenant: Tenant, size: int, num_chars: int = 0) -> Place:
        """The place of a request that arrives now. `size`: the number of texts, prefixes and prompts; `num_chars`: of
        all texts."""
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
            self._begin(place.tenant)  # nobody waits, otherwise the lock would have a holder
        else:
            await self._wait_turn(self._waiting(place))

    async def reacquire(self, place: Place) -> None:
        """Releases the lock and waits for it again. Keeps it if this request is still the first in order."""
        turn = self._waiting(place)
        self.release()
        await self._wait_turn(turn)

    def _waiting(self, place: Place) -> asyncio.Future[None]:
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._key(place.tenant).waiting, _Waiting(place.due, place.number, turn, place.tenant))
        return turn

    async def _wait_turn(self, turn: asyncio.Future[None]) -> None:
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Charges the time to the tenant that held the lock, and passes the lock to the next one."""
        holder = self._holder
        assert holder is not None
        self._keys[holder.name].used_s += (self._clock() - self._held_since) / holder.weight
        self._holder = None
        for key in self._keys.values():
            while key.waiting and key.waiting[0].turn.done():  # cancelled
                heapq.heappop(key.waiting)
        waiting = [key for key in self._keys.values() if key.waiting]
        if waiting:
            key = min(waiting, key=lambda key: (key.used_s, key.waiting[0][:2]))
            first = heapq.heappop(key.waiting)
            self._begin(first.tenant)
            first.turn.set_result(None)  # the lock stays held, by the task that wakes up now
        # A tenant that has used no more than the one whose turn it is needs no entry: a new one starts level.
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
        """The tenant's entry, no further behind than the tenant whose turn it is."""
        key = self._keys.setdefault(tenant.name, _Key(self._start_s))
        key.used_s = max(key.used_s, self._start_s)
        return key
