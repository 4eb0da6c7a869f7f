"""Notices that an engine, though alive, ends no reads any more: a GPU that hangs returns from no step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from icm_server.engines.base import EngineDiedError

STALLED_S = 900.0
"""How long an engine that has reads may end none. One read of a full window on a slow CPU takes minutes."""
PAUSE_S = 30.0
"""After a longer time between two checks, the process itself was stopped: the engine's time begins again."""


class Progress:
    """Counts the reads in an engine. It is used in one event loop; `check` is called every few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._num_reads = clock, 0
        self._last_s = self._checked_s = clock()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A read is in the engine. One that is cancelled shows nothing about the engine."""
        if not self._num_reads:
            self._last_s = self._clock()
        self._num_reads += 1
        is_cancelled = False
        try:
            yield
        except asyncio.CancelledError:
            is_cancelled = True
            raise
        finally:
            self._num_reads -= 1
            if not is_cancelled:
                self._last_s = self._clock()

    def check(self) -> None:
        """Raises EngineDiedError if no read has ended for STALLED_S seconds although the engine has some."""
        now_s = self._clock()
        if now_s - self._checked_s > PAUSE_S:
            self._last_s = now_s
        self._checked_s = now_s
        if self._num_reads and now_s - self._last_s >= STALLED_S:
            raise EngineDiedError(f"it ended none of its {self._num_reads} reads for {STALLED_S:g} s")
