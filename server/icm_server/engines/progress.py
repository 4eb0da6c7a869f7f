"""Notices that an engine, though alive, ends no reads any more: a GPU that hangs returns from no step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from icm_server.engines.base import EngineDiedError

STALLED_S = 900.0
"""How long an engine that has reads may end none. One read of a full window on a slow CPU takes minutes."""
DOUBT_S = 60.0
"""How long after a cancelled read another one may take to end, before the engine is given a read of its own."""
PAUSE_S = 30.0
"""After a longer time between two checks, the process itself was stopped: the engine's time begins again."""


class Progress:
    """Counts the reads in an engine. It is used in one event loop; `check` is called every few seconds.

    A cancelled read shows nothing about the engine: it may have been cancelled because the engine hangs, or because it
    was to take longer than its deadline. Where reads are cancelled and none ends, `probe` makes a short read that
    nobody cancels, in `reading` like any other: an engine that does not end that one is given up.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]], clock: Callable[[], float] = time.monotonic):
        self._probe, self._clock, self._num_reads = probe, clock, 0
        self._last_s = self._checked_s = clock()
        self._cancelled_s: float | None = None
        """When the first read was cancelled since one ended."""
        self._asking: asyncio.Task[None] | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A read is in the engine."""
        if not self._num_reads:
            self._last_s = self._clock()
        self._num_reads += 1
        try:
            yield
        except asyncio.CancelledError:
            if self._cancelled_s is None:
                self._cancelled_s = self._clock()
            raise
        except BaseException:
            self._ended()
            raise
        else:
            self._ended()
        finally:
            self._num_reads -= 1

    def _ended(self) -> None:
        self._last_s, self._cancelled_s = self._clock(), None

    def check(self) -> None:
        """Raises EngineDiedError if no read has ended for STALLED_S seconds although the engine has some."""
        now_s = self._clock()
        if now_s - self._checked_s > PAUSE_S:
            self._last_s = now_s
        self._checked_s = now_s
        if self._num_reads and now_s - self._last_s >= STALLED_S:
            raise EngineDiedError(f"it ended none of its {self._num_reads} reads for {STALLED_S:g} s")
        if self._cancelled_s is not None and now_s - self._cancelled_s >= DOUBT_S and self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            with suppress(Exception):  # a read that fails has ended
                await self._probe()
        finally:
            self._asking = None

    def close(self) -> None:
        """Cancels its own read."""
        if self._asking is not None:
            self._asking.cancel()
