"""Whose work is next where one thing is done at a time: keys share the time, and little does not wait for much.

Parsing and tokenizing a large request takes seconds, in steps of some hundredths of a second, and everybody's steps
take turns. The key that has had the least time, by its weight, is next (start-time fair queueing): one that comes back
after a pause begins even with the one whose turn it is. Within a key each request is due some time after it came, the
later the more it has: the earliest is next. So small requests overtake large ones, and nobody is overtaken for ever.
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


class Turns:
    """In one event loop. `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        """Those who wait, and those who have had more than the one whose turn it is."""
        self._start_s = 0.0
        """What the one had had whose turn it is."""
        self._numbers = itertools.count()
        self._taken: Tenant | None = None
        self._taken_at = 0.0

    def place(self, tenant: Tenant, size: int, num_chars: int = 0) -> Place:
        """For a request that comes now. `size`: how many texts, prefixes and prompts; `num_chars`: of the texts."""
        due = self._clock() + DUE_S * (size + num_chars / DUE_CHARS)
        return Place(tenant, due, next(self._numbers))

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[None]:
        """Waits for it, and has it until the context is left."""
        await self.take(place)
        try:
            yield
        finally:
            self.pass_on()

    async def take(self, place: Place) -> None:
        """Waits for a turn. Then `pass_on` has to be called, or `again`."""
        if self._taken is None:
            self._begin(place.tenant)  # nobody waits, else the turn would have been passed on
        else:
            await self._mine(self._waiting(place))

    async def again(self, place: Place) -> None:
        """Passes the turn on and waits for another one: the next one, if that is still due before all others."""
        mine = self._waiting(place)
        self.pass_on()
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
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """The turn's time is charged to its key, and whoever is next has it."""
        taken = self._taken
        assert taken is not None
        self._keys[taken.name].used_s += (self._clock() - self._taken_at) / taken.weight
        self._taken = None
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
            if key.waiting or key.used_s > self._start_s or (self._taken is not None and name == self._taken.name)
        }

    def _begin(self, tenant: Tenant) -> None:
        key = self._key(tenant)
        self._start_s = max(self._start_s, key.used_s)
        self._taken, self._taken_at = tenant, self._clock()

    def _key(self, tenant: Tenant) -> _Key:
        """Whoever comes back is no further behind than the one whose turn it is."""
        key = self._keys.setdefault(tenant.name, _Key(self._start_s))
        key.used_s = max(key.used_s, self._start_s)
        return key
