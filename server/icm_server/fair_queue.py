"""Who is next: experiments share the engine by the tokens that it computes for them. Pure: no clock, no event loop.

Start-time fair queueing. An experiment's *service* is the tokens computed for it over its weight; the one with the
least is next, for a whole quantum: neighbouring reads of one request, a subtree of its prefix tree. Tokens are
charged as estimated when a read is taken, and corrected once the engine has told what it computed. Whoever comes
back after a pause is at most a burst behind the one whose turn it is: so much is saved up, so that who asks for
little now and then has it at once: a request that is no more than that is next, also in the middle of a quantum, as
long as there is a place for it in the cache, and until its experiment has had what it saved. Every priority is such
a queue of its own, and goes before all lower ones.

Experiments are interleaved only as far as their prefixes fit in the engine's cache side by side, since each would
else compute again what the others drove out. The others wait for a place: one whose request is done gives it up, and
so does the one served most once somebody waiting has fallen behind by a turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

TURN = 8
"""How far one that waits falls behind before it is given another's place, in times of the tokens that it has to have
in the cache: what is computed again for its sake is a small part of what is computed in between."""

CLASS = 2**48
"""More tokens than are ever computed: ranks of a priority are so far from those of the next."""

MAX_IDLE = 4096
"""Experiments without work whose service is remembered, by priority."""


class Read(Protocol):
    """What waits: all that the queue needs to know of it is the tokens that it is likely to have computed."""

    @property
    def tokens(self) -> int: ...


R = TypeVar("R", bound=Read)


class Quantum(NamedTuple, Generic[R]):
    """Reads that are taken together, one or more."""

    reads: Sequence[R]
    cache_tokens: int
    """Tokens of all their prompts, those that they share counted once."""


@dataclass(eq=False, slots=True)
class Work(Generic[R]):
    """One request's reads, in their order. `paused` may be set at any time."""

    experiment: str
    quanta: Sequence[Quantum[R]]
    priority: int = 0
    weight: float = 1.0
    """Its experiment's, unless the queue was told another one."""
    paused: bool = False
    is_saved: bool = False
    """Whether it is no more than its experiment had saved up when it came. Set by the queue."""
    _quantum: int = 0
    _read: int = 0

    @property
    def cache_tokens(self) -> int:
        """What its next quantum needs in the cache."""
        return self.quanta[self._quantum].cache_tokens

    @property
    def tokens(self) -> int:
        """What all its reads are likely to have computed."""
        return sum(read.tokens for quantum in self.quanta for read in quantum.reads)


class Taken(NamedTuple, Generic[R]):
    """The next read, and whose it is."""

    work: Work[R]
    read: R
    rank: int
    """Where it stands among the reads taken before it and not made: the lowest goes first."""


@dataclass(eq=False, slots=True)
class _Share(Generic[R]):
    """One experiment's part of the engine, at one priority."""

    weight: float
    service: float = -math.inf
    in_cache: int = 0
    """Tokens that its place in the cache is for; 0 if it has none."""
    works: list[Work[R]] = field(default_factory=list)

    def charge(self, tokens: int) -> None:
        self.service += tokens / self.weight


@dataclass(eq=False, slots=True)
class _Class(Generic[R]):
    """All experiments with work of one priority."""

    busy: dict[str, _Share[R]] = field(default_factory=dict)
    idle: dict[str, _Share[R]] = field(default_factory=dict)
    start: float = 0.0
    """The service of the one whose turn it is."""

    def ready(self) -> dict[_Share[R], Work[R]]:
        """For every experiment that is not paused the request that it goes on with."""
        firsts = ((share, next((w for w in share.works if not w.paused), None)) for share in self.busy.values())
        return {share: work for share, work in firsts if work is not None}

    def forgive(self) -> None:
        """Nobody waits, so the engine is everybody's: all start even from here."""
        self.start = max([self.start, *map(_service, self.idle.values())])
        self.idle.clear()


class FairQueue(Generic[R]):
    """See the module. Within one experiment and priority, requests go one after the other, as they came."""

    def __init__(self, cache_tokens: int, weights: Mapping[str, float] | None = None, burst_tokens: int = 0):
        self._cache_tokens, self._weights = cache_tokens, weights or {}
        self.burst_tokens = burst_tokens
        """The most that an experiment saves up."""
        self._classes: dict[int, _Class[R]] = {}
        self._now: Work[R] | None = None
        """Whose quantum has been begun and not ended."""

    def add(self, work: Work[R]) -> None:
        """Puts work behind what its experiment waits for already."""
        if not work.quanta:
            return
        group = self._classes.setdefault(work.priority, _Class())
        share = group.busy.get(work.experiment)
        if share is None:
            share = group.idle.pop(work.experiment, None) or _Share(1.0)
            share.weight = self._weights.get(work.experiment, work.weight)
            share.service = max(share.service, group.start - self.burst_tokens / share.weight)
            work.is_saved = work.tokens <= (group.start - share.service) * share.weight
            group.busy[work.experiment] = share
        share.works.append(work)
        now = self._now
        if now is not None and (work.priority, work.is_saved) > (now.priority, self._has_savings(now)):
            self._now = None

    def remove(self, work: Work[R]) -> None:
        """Forgets what has not been taken of it; nothing happens if that is nothing."""
        group = self._classes.get(work.priority)
        share = group.busy.get(work.experiment) if group else None
        if group is None or share is None or work not in share.works:
            return
        if self._now is work:
            self._now = None
        share.works.remove(work)
        share.in_cache = 0
        if not share.works:
            group.idle[work.experiment] = group.busy.pop(work.experiment)
            if len(group.idle) > MAX_IDLE:
                del group.idle[next(iter(group.idle))]

    @property
    def num_experiments(self) -> int:
        """How many have work that waits and is not paused."""
        shares = ((name, share) for group in self._classes.values() for name, share in group.busy.items())
        return len({name for name, share in shares if not all(work.paused for work in share.works)})

    def take(self, *, only_saved: bool = False) -> Taken[R] | None:
        """The next read, charged to its experiment; None if none waits, or only paused work does, or if the next is not
        of saved work and `only_saved` wants such."""
        if self._now is None or self._now.paused:
            self._now = self._next()
        work = self._now
        if work is None or (only_saved and not self._has_savings(work)):
            return None
        quantum = work.quanta[work._quantum]
        taken = Taken(work, quantum.reads[work._read], self._rank(work))
        self.correct(work, taken.read.tokens)
        work._read += 1
        if work._read == len(quantum.reads):
            work._quantum, work._read, self._now = work._quantum + 1, 0, None
            if work._quantum == len(work.quanta):
                self.remove(work)
        return taken

    def correct(self, work: Work[R], tokens: int) -> None:
        """Charges whose work it is so many tokens more than was estimated, or fewer if negative."""
        group = self._classes[work.priority]
        share = group.busy.get(work.experiment) or group.idle.get(work.experiment)
        if share is not None:
            share.charge(tokens)

    def interleaved(self) -> dict[str, int]:
        """The experiments that have a place in the engine's cache, and for how many tokens."""
        places: dict[str, int] = {}
        for group in self._classes.values():
            for experiment, share in group.busy.items():
                if share.in_cache:
                    places[experiment] = places.get(experiment, 0) + share.in_cache
        return places

    def without_place(self) -> set[str]:
        """The experiments that wait for a place there."""
        return {name for group in self._classes.values() for name, share in group.busy.items() if not share.in_cache}

    def _has_savings(self, work: Work[R]) -> bool:
        """Whether it was saved up for, and its experiment is still behind the one whose turn it is."""
        group = self._classes[work.priority]
        return work.is_saved and group.busy[work.experiment].service <= group.start

    def _rank(self, work: Work[R]) -> int:
        return int(self._classes[work.priority].busy[work.experiment].service) - work.priority * CLASS

    def _next(self) -> Work[R] | None:
        """Whose next quantum is begun."""
        for priority in sorted(self._classes, reverse=True):
            group = self._classes[priority]
            ready = group.ready()
            if ready:
                share = self._choose(ready)
                self._place(share, ready[share].cache_tokens)
                group.start = max(group.start, share.service)
                return ready[share]
        if not any(group.busy for group in self._classes.values()):
            for group in self._classes.values():
                group.forgive()
        return None

    def _choose(self, ready: dict[_Share[R], Work[R]]) -> _Share[R]:
        """One that has saved up for its request, else the experiment served least; while there is no place for it, the
        one served least of those for whom there is one."""
        taken = sum(share.in_cache for share in self._shares())

        def fits(share: _Share[R]) -> bool:
            others = taken - share.in_cache
            return not others or others + ready[share].cache_tokens <= self._cache_tokens

        first = min(ready, key=lambda share: (not self._has_savings(ready[share]), share.service))
        if fits(first):
            return first
        best = min(filter(fits, ready), key=_service, default=first)
        turn = TURN * ready[first].cache_tokens / first.weight
        return first if best.service - first.service >= turn else best

    def _place(self, share: _Share[R], tokens: int) -> None:
        """Gives it a place in the cache. For that, others lose theirs, first those served most."""
        share.in_cache = tokens
        others = [other for other in self._shares() if other is not share and other.in_cache]
        room = self._cache_tokens - tokens - sum(other.in_cache for other in others)
        for other in sorted(others, key=_service, reverse=True):
            if room >= 0:
                break
            room += other.in_cache
            other.in_cache = 0

    def _shares(self) -> list[_Share[R]]:
        return [share for group in self._classes.values() for share in group.busy.values()]


def _service(share: _Share[R]) -> float:
    return share.service
