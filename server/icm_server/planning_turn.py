"""Whose request is planned next: one at a time, and who has little to plan does not wait behind all who have much.

Tokenizing a large request takes tens of milliseconds, and experiments that share fairly end their passes, and so send
the next ones, at the same time. Each is due some time after it came, the later the more it has: the earliest is next.
So small requests overtake large ones, and nobody is overtaken for ever.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

DUE_S = 0.001
"""How much later a request is due for each of its texts, prefixes and prompts: much more than it takes."""
DUE_CHARS = 1000
"""So many characters count like one more."""


class PlanningTurns:
    """In one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_taken = False

    @asynccontextmanager
    async def turn(self, size: int, num_chars: int = 0) -> AsyncIterator[None]:
        """Waits for it, and has it until the context is left.

        `size`: how many texts, prefixes and prompts; `num_chars`: of the texts.
        """
        if self._is_taken:
            mine = asyncio.get_running_loop().create_future()
            due = self._clock() + DUE_S * (size + num_chars / DUE_CHARS)
            heapq.heappush(self._waiting, (due, next(self._numbers), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()
                raise
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            *_, mine = heapq.heappop(self._waiting)
            if not mine.done():
                mine.set_result(None)
                return  # it stays taken, by whoever wakes up now
        self._is_taken = False
