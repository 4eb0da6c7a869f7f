"""What has been done lately: counts now less counts some time ago."""

from __future__ import annotations

import copy
from collections import deque
from typing import NamedTuple

from icm_server.stats.counters import Counts, Tallies, Tally

WINDOW_S = 30.0
"""How far back `lately` goes."""
SAMPLE_EVERY_S = 2.0


class _Sample(NamedTuple):
    at: float
    counts: dict[Tally, Counts]
    reads: list[int]


class History:
    """Of one scorer's tallies. Have it `take` a sample every SAMPLE_EVERY_S."""

    def __init__(self, tallies: Tallies):
        self._tallies = tallies
        self._samples: deque[_Sample] = deque()
        self.take()

    def take(self) -> None:
        """Remembers the counts as they are now, and forgets those that are too old."""
        now = self._tallies.clock()
        counts = {tally: copy.copy(tally.counts) for _, tally in self._tallies}
        self._samples.append(_Sample(now, counts, list(self._tallies.reads_s.counts)))
        while len(self._samples) > 1 and self._samples[1].at <= now - WINDOW_S:
            self._samples.popleft()

    @property
    def seconds(self) -> float:
        """How long ago the counts are from that are compared with."""
        return self._tallies.clock() - self._samples[0].at

    def counts(self, tally: Tally) -> Counts:
        """What was done of it since."""
        return tally.counts - self._samples[0].counts.get(tally, Counts())

    def reads(self) -> list[int]:
        """Reads made since, by how long they took; see `Histogram.counts`."""
        now, before = self._tallies.reads_s.counts, self._samples[0].reads
        return [mine - its for mine, its in zip(now, before, strict=True)]
