"""Recent work: current counts minus earlier counts."""

from __future__ import annotations

import copy
from collections import deque
from typing import NamedTuple

from icm_server.stats.counters import Counters, Counts, ExperimentCounters

WINDOW_S = 30.0
"""The length of the window."""
SAMPLE_EVERY_S = 2.0


class _Sample(NamedTuple):
    at: float
    counts: dict[ExperimentCounters, Counts]
    reads: list[int]


class History:
    """The history of one scorer's counters. Call `take` every SAMPLE_EVERY_S."""

    def __init__(self, counters: Counters):
        self._counters = counters
        self._samples: deque[_Sample] = deque()
        self.take()

    def take(self) -> None:
        """Stores the current counts and drops samples that are too old."""
        now = self._counters.clock()
        counts = {entry: copy.copy(entry.counts) for _, entry in self._counters}
        self._samples.append(_Sample(now, counts, list(self._counters.reads_s.counts)))
        while len(self._samples) > 1 and self._samples[1].at <= now - WINDOW_S:
            self._samples.popleft()

    @property
    def seconds(self) -> float:
        """The age of the sample that is compared with."""
        return self._counters.clock() - self._samples[0].at

    def counts(self, entry: ExperimentCounters) -> Counts:
        """The experiment's work since then."""
        return entry.counts - self._samples[0].counts.get(entry, Counts())

    def reads(self) -> list[int]:
        """Reads since then, by duration; see `Histogram.counts`."""
        now, before = self._counters.reads_s.counts, self._samples[0].reads
        return [count - earlier for count, earlier in zip(now, before, strict=True)]
