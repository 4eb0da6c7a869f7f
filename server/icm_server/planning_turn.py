"""Whose request is planned next: one at a time, and who has little to plan does not wait behind all who have much.

Tokenizing a large request takes tens of milliseconds, and experiments that share fairly end their passes, and so send
the next ones, at the same time. Each is due some time after it came, the later the more it has: the earliest is next.
So small requests overtake large ones, and nobody is overtaken for ever.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

DUE_S = 0.01
"""How much later a request is due for each of its prompts: ten times of what planning one takes."""


class PlanningTurns:
    """In one event loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._is_taken = False

    @asynccontextmanager
    async def turn(self, num_prompts: int) -> AsyncIterator[None]:
        """Waits for it, and has it until the context is left."""
        if self._is_taken:
            loop = asyncio.get_running_loop()
            mine = loop.create_future()
            heapq.heappush(self._waiting, (loop.time() + DUE_S * num_prompts, next(self._numbers), mine))
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
