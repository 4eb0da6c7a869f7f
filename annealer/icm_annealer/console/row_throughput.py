"""The progress of an extension: rows, rows a second, tokens and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from icm_annealer.console.progress import RunProgress
from icm_client.contract.wire import Usage


class Throughput:
    """Shows on a RunProgress how many rows are labelled. Rows that an earlier process labelled do not count for the
    speed."""

    def __init__(self, progress: RunProgress, clock: Callable[[], float] = time.monotonic):
        self._progress, self._clock = progress, clock
        self._total = self._num_before = self._num = self._tokens = 0
        self._start = clock()

    def expect(self, num_rows: int) -> None:
        """The number of all rows; the time counts from here on."""
        self._total, self._start = num_rows, self._clock()

    def rows(self, num: int, usage: Usage) -> None:
        """Further rows; those without a cost were labelled before."""
        self._tokens += usage.computed_tokens
        if not num:
            return
        if usage == Usage():
            self._num_before += num
            self._start = self._clock()
            return
        self._num += num
        seconds = max(self._clock() - self._start, 1e-9)
        rate = self._num / seconds
        left = self._total - self._num_before - self._num
        self._progress.guess(self._progress.elapsed + left / rate)
        self._progress.status(
            f"{self._num_before + self._num:,} of {self._total:,} rows, {rate:,.0f} rows/s, {self._tokens:,} tokens "
            "computed"
        )
