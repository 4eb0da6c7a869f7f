"""Schedules reads: tenants share the engine by computed tokens, and each tenant's experiments share its part.

Pure: no clock, no event loop. Each priority has a separate tree of shares (`fair_share.py`), and higher priorities go
first. Without keys, all experiments belong to one tenant. A turn lasts a whole quantum: neighbouring reads of one
request, a subtree of its prefix tree. Estimated tokens are charged when a read is taken, and corrected once the engine
reports what it computed. Savings are for experiments that send a small request now and then: a request within its
experiment's savings is next, even in the middle of a quantum of an experiment without savings, if its prefix has a
place in the cache.

Experiments are interleaved only while their prefixes fit in the engine's cache together; otherwise each would compute
again what the others evicted. The other experiments wait for a place. A place becomes free when its request is done, or
when a waiting experiment has fallen behind by a turn: then the experiment that was served most loses its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from icm_server.auth.tenant import ExperimentId
from icm_server.sharing.fair_share import Level, Share

TURN = 8
"""How far a waiting experiment falls behind before it gets another's place, as a multiple of the tokens that it needs
in the cache: the recomputed tokens are a small part of the tokens computed in between."""

CLASS = 2**48
"""More tokens than are ever computed: this distance separates the ranks of one priority from those of the next."""


class QueuedRead(Protocol):
    """A queued read. The queue needs only the estimate of the tokens that the engine computes for it."""

    @property
    def estimated_new_tokens(self) -> int: ...


R = TypeVar("R", bound=QueuedRead)


class Quantum(NamedTuple, Generic[R]):
    """One or more reads that are taken in one turn."""

    reads: Sequence[R]
    cache_tokens: int
    """Tokens of all their prompts, a shared prefix counted once."""


@dataclass(eq=False, slots=True)
class Work(Generic[R]):
    """One request's reads, in order. `paused` may be set at any time."""

    experiment_id: ExperimentId
    quanta: Sequence[Quantum[R]]
    priority: int = 0
    weight: float = 1.0
    """The tenant's weight."""
    paused: bool = False
    _quantum: int = 0
    _read: int = 0
    _left: int = 0
    """Tokens of the reads that have not been taken."""
    _path: tuple[Share[Work[R]], ...] = ()
    """The tenant's share and the experiment's share below it. Set by the queue."""

    @property
    def cache_tokens(self) -> int:
        """The tokens that its next quantum needs in the cache."""
        return self.quanta[self._quantum].cache_tokens

    @property
    def tokens(self) -> int:
        """The estimated tokens to compute of all its reads."""
        return sum(read.estimated_new_tokens for quantum in self.quanta for read in quantum.reads)


class NextRead(NamedTuple, Generic[R]):
    """The next read and its request's work."""

    work: Work[R]
    read: R
    rank: int
    """The rank among reads in the engine: the lowest is computed first."""


class FairQueue(Generic[R]):
    """See the module. Requests of one experiment and priority run one after the other, in order of arrival."""

    def __init__(self, cache_tokens: int, weights: Mapping[str, float] | None = None, burst_tokens: int = 0):
        """`weights` of experiments, relative to others of the same tenant; 1 for experiments that are not listed."""
        self._cache_tokens, self._weights = cache_tokens, weights or {}
        self.burst_tokens = burst_tokens
        """The most tokens that a tenant can save up, or an experiment within its tenant."""
        self._classes: dict[int, Level[Work[R]]] = {}
        self._places: dict[Share[Work[R]], int] = {}
        """The experiments' shares that have a place in the cache, and its size in tokens."""
        self._num_pauses = 0
        self._now: Work[R] | None = None
        """The work whose quantum has begun and not ended."""

    def add(self, work: Work[R]) -> None:
        """Appends work to its experiment's queue."""
        if not work.quanta:
            return
        level = self._classes.setdefault(work.priority, Level())
        key = level.join(work.experiment_id.tenant, work.weight, self.burst_tokens, self._num_pauses)
        name = work.experiment_id.experiment
        experiment = key.below.join(name, self._weights.get(name, 1.0), self.burst_tokens, self._num_pauses)
        work._path, work._left = (key, experiment), work.tokens
        for share in work._path:
            share.waiting += work._left
        experiment.works.append(work)
        if self._now is not None and _overtakes(work, self._now):
            self._now = None

    def remove(self, work: Work[R]) -> None:
        """Removes the reads that have not been taken, if there are any."""
        if not work._path or work not in work._path[-1].works:
            return
        if self._now is work:
            self._now = None
        work._path[-1].works.remove(work)
        self._places.pop(work._path[-1], None)
        for share in reversed(work._path):
            share.waiting -= work._left
            if not share.is_busy():
                share.level.leave(share)

    @property
    def is_shared(self) -> bool:
        """Whether several experiments have work that is not paused. Equal names of two tenants count as two
        experiments."""
        experiment_ids = (work.experiment_id for share in self._experiments() if (work := _ready(share)) is not None)
        first = next(experiment_ids, None)
        return any(experiment_id != first for experiment_id in experiment_ids)

    def is_saved(self, work: Work[R]) -> bool:
        """Whether the experiment has savings within its tenant and the tenant has savings; a share without competitors
        is not checked."""
        unsaved = [share for share in work._path if not share.has_savings()]
        return len(unsaved) < len(work._path) and all(len(share.level.busy) == 1 for share in unsaved)

    def take(self, *, only_saved: bool = False) -> NextRead[R] | None:
        """The next read, charged to its experiment and tenant. None if the queue is empty or all work is paused, or if
        the next work has no savings and `only_saved` is set."""
        if self._now is None or self._now.paused:
            self._now = self._next()
        work = self._now
        if work is None or (only_saved and not self.is_saved(work)):
            return None
        quantum = work.quanta[work._quantum]
        taken = NextRead(work, quantum.reads[work._read], _rank(work))
        self._charge(work, taken.read.estimated_new_tokens)
        work._read += 1
        if work._read == len(quantum.reads):
            work._quantum, work._read, self._now = work._quantum + 1, 0, None
            if work._quantum == len(work.quanta):
                self.remove(work)
        return taken

    def correct(self, work: Work[R], tokens: int) -> None:
        """Charges the difference between the computed tokens and the estimate, which may be negative."""
        for share in work._path:
            share.charge(tokens)

    def interleaved(self) -> dict[ExperimentId, int]:
        """The experiments that have a place in the engine's cache, and its size in tokens."""
        places: dict[ExperimentId, int] = {}
        for share, tokens in self._places.items():
            experiment_id = share.works[0].experiment_id
            places[experiment_id] = places.get(experiment_id, 0) + tokens
        return places

    def without_place(self) -> set[ExperimentId]:
        """The experiments that wait for a place there."""
        return {share.works[0].experiment_id for share in self._experiments() if share not in self._places}

    def _charge(self, work: Work[R], tokens: int) -> None:
        work._left -= tokens
        self.correct(work, tokens)
        for share in work._path:
            share.waiting -= tokens
            share.level.reached = max(share.level.reached, share.service)

    def _next(self) -> Work[R] | None:
        """The work whose quantum begins now."""
        for priority in sorted(self._classes, reverse=True):
            work = self._choose(self._classes[priority])
            if work is not None:
                self._place(work)
                for share in work._path:
                    share.level.start = max(share.level.start, share.service)
                return work
        if not any(level.busy for level in self._classes.values()):
            self._num_pauses += 1
        return None

    def _choose(self, level: Level[Work[R]]) -> Work[R] | None:
        """The first in order. If there is no place for it yet, the first of those that fit."""
        first = _first(level)
        if first is None or self._fits(first):
            return first
        best = _first(level, self._fits)
        if best is None:
            return first
        share, next_share = _parting(first, best)
        behind = next_share.service - share.service
        return first if behind >= TURN * first.cache_tokens / share.weight else best

    def _fits(self, work: Work[R]) -> bool:
        others = sum(self._places.values()) - self._places.get(work._path[-1], 0)
        return not others or others + work.cache_tokens <= self._cache_tokens

    def _place(self, work: Work[R]) -> None:
        """Gives the work a place in the cache. If there is no room, other experiments lose theirs: first those of the
        same tenant, then those with the most service."""
        key, experiment = work._path
        self._places[experiment] = work.cache_tokens
        room = self._cache_tokens - sum(self._places.values())
        if room >= 0:
            return
        others = [share.works[0] for share in self._places if share is not experiment]
        services = {other: [share.service for share in other._path] for other in others}
        for other in sorted(others, key=lambda other: (other._path[0] is key, services[other]), reverse=True):
            room += self._places.pop(other._path[-1])
            if room >= 0:
                return

    def _experiments(self) -> Iterator[Share[Work[R]]]:
        """All experiments with work, of every tenant and priority."""
        for level in self._classes.values():
            for key in level.busy.values():
                yield from key.below.busy.values()


def _ready(share: Share[Work[R]]) -> Work[R] | None:
    """The experiment's next work that is not paused."""
    return next((work for work in share.works if not work.paused), None)


def _first(level: Level[Work[R]], usable: Callable[[Work[R]], bool] = lambda work: True) -> Work[R] | None:
    """The first usable work in order, on this level and all levels below."""
    for share in level.in_turn():
        work = _ready(share) if share.works else _first(share.below, usable)
        if work is not None and usable(work):
            return work
    return None


def _parting(one: Work[R], other: Work[R]) -> tuple[Share[Work[R]], Share[Work[R]]]:
    """The two shares at which the paths of two works of one priority diverge; the experiments' if they do not."""
    pairs = list(zip(one._path, other._path, strict=True))
    return next((pair for pair in pairs if pair[0] is not pair[1]), pairs[-1])


def _overtakes(work: Work[R], now: Work[R]) -> bool:
    """Whether the work interrupts the current quantum."""
    if work.priority != now.priority:
        return work.priority > now.priority
    share, current = _parting(work, now)
    return share.has_savings() and not current.has_savings()


def _rank(work: Work[R]) -> int:
    """The tenant's service, less the tokens that the tenant computed for its other experiments while this one fell
    behind."""
    key, experiment = work._path
    ahead = max(0.0, experiment.saved() / experiment.weight) * experiment.level.busy_weight / key.weight
    return int(max(-CLASS / 2, min(CLASS / 2, key.service - ahead))) - work.priority * CLASS
