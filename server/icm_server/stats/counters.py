"""Counters of finished work and its durations: in total, by tenant and by experiment. Plain numbers; use in one event
loop."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate
from operator import add, attrgetter, sub
from typing import Generic, Protocol, TypeVar

from icm_server.auth.tenant import ExperimentId

MAX_KEYS = 128
"""The most tenants counted by name."""
MAX_EXPERIMENTS = 64
"""The most experiments of each tenant counted by name."""
OTHERS = "(others)"
"""All others are counted under this name, which no key and no experiment can have."""
MAX_LATENCIES = 64
"""Durations are kept for this many of an experiment's last answered requests."""

READ_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


@dataclass(slots=True)
class Counts:
    """Amounts of finished work."""

    prompts: int = 0
    """Prompts of admitted requests."""
    reads: int = 0
    """Reads made by the engine."""
    read_cache_reads: int = 0
    """Reads answered by earlier reads, or by reads made for another request."""
    computed_tokens: int = 0
    cached_tokens: int = 0
    """Tokens found in the engine's prefix cache."""
    read_cache_tokens: int = 0
    """Tokens of reused reads."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(add, _numbers(self), _numbers(other)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*map(sub, _numbers(self), _numbers(other)))

    def __copy__(self) -> Counts:
        return Counts(*_numbers(self))


_numbers = attrgetter(*(each.name for each in fields(Counts)))


class Histogram:
    """Counts of durations: `counts[k]` of at most `bounds[k]` seconds, the last one of longer durations."""

    def __init__(self, bounds: Sequence[float]):
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum_s += seconds


def quantile_s(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """The duration that this fraction does not exceed, as precisely as the bounds allow; None without data."""
    below = list(accumulate(counts, initial=0))
    rank = part * below[-1]
    for number, upper in enumerate(bounds):
        if below[-1] and below[number + 1] >= rank:
            lower = bounds[number - 1] if number else 0.0
            return lower + (upper - lower) * max(0.0, rank - below[number]) / max(1, counts[number])
    return bounds[-1] if below[-1] else None


@dataclass(eq=False, slots=True)
class ExperimentCounters:
    """Counters of one experiment."""

    counts: Counts = field(default_factory=Counts)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Ended requests, by outcome."""
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_LATENCIES))
    num_open: int = 0
    """Requests that have not ended."""
    seen_at: float = 0.0

    def absorb(self, other: ExperimentCounters) -> None:
        """Adds the other's counts to this one."""
        self.counts += other.counts
        self.outcomes.update(other.outcomes)
        self.num_open += other.num_open
        self.seen_at = max(self.seen_at, other.seen_at)

    def total(self) -> ExperimentCounters:
        return self


class _Counted(Protocol):
    @property
    def num_open(self) -> int: ...
    def total(self) -> ExperimentCounters: ...


T = TypeVar("T", bound=_Counted)


class Names(Generic[T]):
    """Counters by name, for at most `most` names. To make room, the idle name not seen for longest is dropped."""

    def __init__(self, make: Callable[[], T], most: int):
        self._make, self._most = make, most
        self.named: dict[str, T] = {}
        self.others = make()
        """Counts all names that are not counted separately."""
        self._gone = ExperimentCounters()

    @property
    def num_open(self) -> int:
        """Requests of any name that have not ended."""
        return self.others.num_open + sum(each.num_open for each in self.named.values())

    def of(self, name: str) -> T:
        """The name's own counters, or those of OTHERS."""
        found = self.named.pop(name, None)
        if found is None:
            if len(self.named) >= self._most and not self._make_room():
                return self.others
            found = self._make()
        self.named[name] = found
        return found

    def total(self) -> ExperimentCounters:
        """The total over all names, dropped ones included."""
        total = ExperimentCounters()
        for each in (self._gone, self.others.total(), *(named.total() for named in self.named.values())):
            total.absorb(each)
        return total

    def __iter__(self) -> Iterator[tuple[str, T]]:
        """All names that are counted separately, then OTHERS if there are any."""
        yield from self.named.items()
        if self.others.num_open or self.others.total().outcomes:
            yield OTHERS, self.others

    def _make_room(self) -> bool:
        oldest = next((name for name, each in self.named.items() if not each.num_open), None)
        if oldest is None:
            return False
        self._gone.absorb(self.named.pop(oldest).total())
        return True


class Counters:
    """One scorer's counters, by tenant and by experiment within a tenant, so that no tenant's names displace
    another's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Sets all counters to zero."""
        self._keys = Names(lambda: Names(ExperimentCounters, MAX_EXPERIMENTS), MAX_KEYS)
        self.reads_s = Histogram(READ_BOUNDS_S)
        """Durations of reads in the engine."""
        self.waits_s = Histogram(REQUEST_BOUNDS_S)
        """Queueing times of requests, until their first read was dispatched."""
        self.requests_s = Histogram(REQUEST_BOUNDS_S)
        """Durations of answered requests."""

    def of(self, experiment_id: ExperimentId) -> ExperimentCounters:
        """The experiment's own counters, or the shared ones if it is not counted by name."""
        entry = self._keys.of(experiment_id.tenant).of(experiment_id.experiment)
        entry.seen_at = self.clock()
        return entry

    def nameless(self, key: str) -> ExperimentCounters:
        """The counters for a tenant's requests whose experiment is not known."""
        entry = self._keys.of(key).others
        entry.seen_at = self.clock()
        return entry

    def total(self, key: str | None = None) -> ExperimentCounters:
        """The total of all experiments, or of one tenant's, dropped names included."""
        if key is None:
            return self._keys.total()
        return self._keys.named[key].total() if key in self._keys.named else ExperimentCounters()

    def shown_as(self, experiment_id: ExperimentId) -> ExperimentId:
        """The name under which the experiment is counted: its own or OTHERS."""
        key = experiment_id.tenant if experiment_id.tenant in self._keys.named else OTHERS
        experiments = self._keys.named.get(key, self._keys.others)
        return ExperimentId(key, experiment_id.experiment if experiment_id.experiment in experiments.named else OTHERS)

    def __iter__(self) -> Iterator[tuple[ExperimentId, ExperimentCounters]]:
        """All counters, by the names under which they are counted."""
        for key, experiments in self._keys:
            for experiment, entry in experiments:
                yield ExperimentId(key, experiment), entry
