"""What has been done lately: counts now less counts some time ago."""

from __future__ import annotations

import copy
from collections import deque
from typing import NamedTuple

from icm_server.stats.counters import Counters, Counts, ExperimentCounters

WINDOW_S = 30.0
"""How far back `lately` goes."""
SAMPLE_EVERY_S = 2.0


class _Sample(NamedTuple):
    at: float
    counts: dict[ExperimentCounters, Counts]
    reads: list[int]


class History:
    """Of one scorer's counters. Have it `take` a sample every SAMPLE_EVERY_S."""

    def __init__(self, counters: Counters):
        self._counters = counters
        self._samples: deque[_Sample] = deque()
        self.take()

    def take(self) -> None:
        """Remembers the counts as they are now, and forgets those that are too old."""
        now = self._counters.clock()
        counts = {entry: copy.copy(entry.counts) for _, entry in self._counters}
        self._samples.append(_Sample(now, counts, list(self._counters.reads_s.counts)))
        while len(self._samples) > 1 and self._samples[1].at <= now - WINDOW_S:
            self._samples.popleft()

    @property
    def seconds(self) -> float:
        """How long ago the counts are from that are compared with."""
        return self._counters.clock() - self._samples[0].at

    def counts(self, entry: ExperimentCounters) -> Counts:
        """What was done of it since."""
        return entry.counts - self._samples[0].counts.get(entry, Counts())

    def reads(self) -> list[int]:
        """Reads made since, by how long they took; see `Histogram.counts`."""
        now, before = self._counters.reads_s.counts, self._samples[0].reads
        return [mine - its for mine, its in zip(now, before, strict=True)]
