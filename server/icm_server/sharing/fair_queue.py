"""Who is next: keys share the engine by the tokens that it computes for them, and experiments their key's part.

Pure: no clock, no event loop. Every priority is a tree of shares of its own (`fair_share.py`), and goes before all
lower ones; without keys all experiments are of one. Whose turn it is has it for a whole quantum: neighbouring reads
of one request, a subtree of its prefix tree. Tokens are charged as estimated when a read is taken, and corrected once
the engine has told what it computed. What somebody has saved up is for who asks for little now and then and so has it
at once: a request that is no more than that is next, also in the middle of a quantum of those that it was saved up
beside, as long as there is a place for it in the cache.

Experiments are interleaved only as far as their prefixes fit in the engine's cache side by side, since each would
else compute again what the others drove out. The others wait for a place: one whose request is done gives it up, and
so does the one served most once somebody waiting has fallen behind by a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from icm_server.auth.tenant import ExperimentId
from icm_server.sharing.fair_share import Level, Share

TURN = 8
"""How far one that waits falls behind before it is given another's place, in times of the tokens that it has to have
in the cache: what is computed again for its sake is a small part of what is computed in between."""

CLASS = 2**48
"""More tokens than are ever computed: ranks of a priority are so far from those of the next."""


class QueuedRead(Protocol):
    """What waits: all that the queue needs to know of it is the tokens that it is likely to have computed."""

    @property
    def estimated_new_tokens(self) -> int: ...


R = TypeVar("R", bound=QueuedRead)


class Quantum(NamedTuple, Generic[R]):
    """Reads that are taken together, one or more."""

    reads: Sequence[R]
    cache_tokens: int
    """Tokens of all their prompts, those that they share counted once."""


@dataclass(eq=False, slots=True)
class Work(Generic[R]):
    """One request's reads, in their order. `paused` may be set at any time."""

    experiment_id: ExperimentId
    quanta: Sequence[Quantum[R]]
    priority: int = 0
    weight: float = 1.0
    """Its key's."""
    paused: bool = False
    _quantum: int = 0
    _read: int = 0
    _left: int = 0
    """Tokens of the reads that have not been taken."""
    _path: tuple[Share[Work[R]], ...] = ()
    """Its key's share, and its experiment's in that. Set by the queue."""

    @property
    def cache_tokens(self) -> int:
        """What its next quantum needs in the cache."""
        return self.quanta[self._quantum].cache_tokens

    @property
    def tokens(self) -> int:
        """What all its reads are likely to have computed."""
        return sum(read.estimated_new_tokens for quantum in self.quanta for read in quantum.reads)


class NextRead(NamedTuple, Generic[R]):
    """The next read, and whose it is."""

    work: Work[R]
    read: R
    rank: int
    """Where it stands among the reads taken before it and not made: the lowest goes first."""


class FairQueue(Generic[R]):
    """See the module. Within one experiment and priority, requests go one after the other, as they came."""

    def __init__(self, cache_tokens: int, weights: Mapping[str, float] | None = None, burst_tokens: int = 0):
        """`weights` are experiments', beside the others of their key; 1 for those that are not named."""
        self._cache_tokens, self._weights = cache_tokens, weights or {}
        self.burst_tokens = burst_tokens
        """The most that a key saves up, or an experiment within its key."""
        self._classes: dict[int, Level[Work[R]]] = {}
        self._places: dict[Share[Work[R]], int] = {}
        """The experiments' shares that have a place in the cache, and for how many tokens."""
        self._num_pauses = 0
        self._now: Work[R] | None = None
        """Whose quantum has been begun and not ended."""

    def add(self, work: Work[R]) -> None:
        """Puts work behind what its experiment waits for already."""
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
        """Forgets what has not been taken of it; nothing happens if that is nothing."""
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
        """Whether several experiments have work that waits and is not paused; one name under two keys is two."""
        experiment_ids = (work.experiment_id for share in self._experiments() if (work := _ready(share)) is not None)
        first = next(experiment_ids, None)
        return any(experiment_id != first for experiment_id in experiment_ids)

    def is_saved(self, work: Work[R]) -> bool:
        """Whether it was saved up for, within its key and by its key, where there are others."""
        unsaved = [share for share in work._path if not share.has_savings()]
        return len(unsaved) < len(work._path) and all(len(share.level.busy) == 1 for share in unsaved)

    def take(self, *, only_saved: bool = False) -> NextRead[R] | None:
        """The next read, charged to its experiment and key; None if none waits, or only paused work does, or if the
        next is not of saved work and `only_saved` wants such."""
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
        """Charges whose work it is so many tokens more than was estimated, or fewer if negative."""
        for share in work._path:
            share.charge(tokens)

    def interleaved(self) -> dict[ExperimentId, int]:
        """The experiments that have a place in the engine's cache, and for how many tokens."""
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
        """Whose next quantum is begun."""
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
        """The first in turn; while there is no place for it, the first of those for whom there is one."""
        first = _first(level)
        if first is None or self._fits(first):
            return first
        best = _first(level, self._fits)
        if best is None:
            return first
        mine, its = _parting(first, best)
        return first if its.service - mine.service >= TURN * first.cache_tokens / mine.weight else best

    def _fits(self, work: Work[R]) -> bool:
        others = sum(self._places.values()) - self._places.get(work._path[-1], 0)
        return not others or others + work.cache_tokens <= self._cache_tokens

    def _place(self, work: Work[R]) -> None:
        """Gives it a place in the cache. For that, others lose theirs: those of its own key first, then those served
        most."""
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
        """All with work, of every key and priority."""
        for level in self._classes.values():
            for key in level.busy.values():
                yield from key.below.busy.values()


def _ready(share: Share[Work[R]]) -> Work[R] | None:
    """What an experiment goes on with."""
    return next((work for work in share.works if not work.paused), None)


def _first(level: Level[Work[R]], usable: Callable[[Work[R]], bool] = lambda work: True) -> Work[R] | None:
    """The usable work whose turn it is, on this level and on all below it."""
    for share in level.in_turn():
        work = _ready(share) if share.works else _first(share.below, usable)
        if work is not None and usable(work):
            return work
    return None


def _parting(one: Work[R], other: Work[R]) -> tuple[Share[Work[R]], Share[Work[R]]]:
    """Where two works of one priority are first of different shares; their experiments if they never are."""
    pairs = list(zip(one._path, other._path, strict=True))
    return next((pair for pair in pairs if pair[0] is not pair[1]), pairs[-1])


def _overtakes(work: Work[R], now: Work[R]) -> bool:
    """Whether it interrupts the quantum that is under way."""
    if work.priority != now.priority:
        return work.priority > now.priority
    mine, its = _parting(work, now)
    return mine.has_savings() and not its.has_savings()


def _rank(work: Work[R]) -> int:
    """In its key's order; before that, as much as its key has computed for others while it fell behind them."""
    key, experiment = work._path
    ahead = max(0.0, experiment.saved() / experiment.weight) * experiment.level.busy_weight / key.weight
    return int(max(-CLASS / 2, min(CLASS / 2, key.service - ahead))) - work.priority * CLASS
