"""What has been done, counted: in all, by experiment, and how long it took. A leaf: plain numbers, one event loop."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate

MAX_EXPERIMENTS = 64
"""How many are counted by name."""
OTHERS = "(others)"
"""All beyond them, under a name that no experiment can have."""
MAX_LATENCIES = 64
"""The last answered requests of an experiment whose times are kept."""

READ_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


@dataclass(slots=True)
class Counts:
    """Work that is done."""

    prompts: int = 0
    """Of requests that were let in."""
    reads: int = 0
    """Made by the engine."""
    reused_reads: int = 0
    """Answered by reads made before, or made for another request."""
    computed_tokens: int = 0
    cached_tokens: int = 0
    """Found in the engine's prefix cache."""
    reused_tokens: int = 0
    """Of reused reads."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))


class Histogram:
    """How many of something took how long: `counts[k]` up to `bounds[k]` seconds, the last one longer than all."""

    def __init__(self, bounds: Sequence[float]):
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum_s += seconds


def quantile_s(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """The time within which this part of all was done, as finely as the bounds allow; None if there is nothing."""
    below = list(accumulate(counts, initial=0))
    wanted = part * below[-1]
    for number, upper in enumerate(bounds):
        if below[-1] and below[number + 1] >= wanted:
            lower = bounds[number - 1] if number else 0.0
            return lower + (upper - lower) * max(0.0, wanted - below[number]) / max(1, counts[number])
    return bounds[-1] if below[-1] else None


@dataclass(eq=False, slots=True)
class Tally:
    """One experiment's."""

    counts: Counts = field(default_factory=Counts)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests that have ended, by how."""
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_LATENCIES))
    num_open: int = 0
    """Requests that have not."""
    seen_at: float = 0.0

    def absorb(self, other: Tally) -> None:
        self.counts += other.counts
        self.outcomes.update(other.outcomes)


class Tallies:
    """One scorer's. At most MAX_EXPERIMENTS by name: of those that are idle the one not seen for longest makes room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Nothing has been done."""
        self._named: dict[str, Tally] = {}
        self._others, self._gone = Tally(), Tally()
        self.reads_s = Histogram(READ_BOUNDS_S)
        """Reads in the engine."""
        self.waits_s = Histogram(REQUEST_BOUNDS_S)
        """Requests in the queue, until the first read's turn came."""
        self.requests_s = Histogram(REQUEST_BOUNDS_S)
        """Answered requests."""

    def of(self, experiment: str) -> Tally:
        """The experiment's own, or the one for all that are not counted by name."""
        tally = self._named.pop(experiment, None)
        if tally is None and (len(self._named) < MAX_EXPERIMENTS or self._make_room()):
            tally = Tally()
        if tally is None:
            tally = self._others
        else:
            self._named[experiment] = tally
        tally.seen_at = self.clock()
        return tally

    def total(self) -> Tally:
        """Of all experiments, those that are not counted by name any more among them."""
        total = Tally()
        for tally in (self._gone, self._others, *self._named.values()):
            total.absorb(tally)
        return total

    def __iter__(self) -> Iterator[tuple[str, Tally]]:
        """All that are counted by name, then the others if there are any."""
        yield from self._named.items()
        if self._others.num_open or self._others.outcomes:
            yield OTHERS, self._others

    def __contains__(self, experiment: str) -> bool:
        return experiment in self._named

    def _make_room(self) -> bool:
        oldest = next((name for name, tally in self._named.items() if not tally.num_open), None)
        if oldest is None:
            return False
        self._gone.absorb(self._named.pop(oldest))
        return True
