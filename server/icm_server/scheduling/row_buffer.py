"""A bounded buffer of rows, which are passed to their reader in small batches. Use it in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

FLUSH_EVERY_S = 0.05
"""Rows that arrive within this time are passed on together."""
MAX_READY_VALUES = 2**16
"""The most log-probabilities in the buffer; when it is full, the request's reads are paused."""
MAX_TAKEN_VALUES = 2**13
"""The most log-probabilities in a batch: writing them takes about a millisecond."""


class RowBatch(NamedTuple):
    """The labels' log-probabilities (`logprobs[k]`, a row) after prompt number `prompts[k]`."""

    prompts: list[int]
    logprobs: list[list[float]]


class RowBuffer:
    """Calls `on_full` when the buffer is full, and `on_room` whenever rows were taken and there is room again."""

    def __init__(self, num_labels: int, on_full: Callable[[], None], on_room: Callable[[], None]):
        self._ready = RowBatch([], [])
        self._max_ready = max(1, MAX_READY_VALUES // num_labels)
        self._max_taken = max(1, MAX_TAKEN_VALUES // num_labels)
        self._on_full, self._on_room = on_full, on_room
        self._wake = asyncio.Event()
        self._flush: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0

    @property
    def is_empty(self) -> bool:
        return not self._ready.prompts

    @property
    def fills_a_batch(self) -> bool:
        return len(self._ready.prompts) >= self._max_taken

    def put(self, prompts: list[int], row: list[float], *, is_last: bool) -> None:
        """Adds the row of these prompts. Wakes the reader: at once if there are many rows or this is the last one,
        otherwise after a short delay."""
        self._ready.prompts.extend(prompts)
        self._ready.logprobs.extend([row] * len(prompts))
        if len(self._ready.prompts) >= self._max_ready:
            self._on_full()
            self.wake()
        elif is_last:
            self.wake()
        elif self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_at(max(loop.time(), self._flushed_at + FLUSH_EVERY_S), self.wake)

    def wake(self) -> None:
        """Ends the reader's `wait`."""
        self._wake.set()

    async def wait(self) -> None:
        """Waits until there are rows to take."""
        await self._wake.wait()

    def take(self) -> RowBatch:
        """The next rows, possibly none. The remaining rows can be taken at once."""
        prompts, logprobs = self._ready
        rows = RowBatch(prompts[: self._max_taken], logprobs[: self._max_taken])
        del prompts[: self._max_taken], logprobs[: self._max_taken]
        if self.is_empty:
            self._wake.clear()
        self._flushed_at = asyncio.get_running_loop().time()
        self.close()
        if len(prompts) < self._max_ready:
            self._on_room()
        return rows

    def close(self) -> None:
        """Cancels the next wake-up."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
