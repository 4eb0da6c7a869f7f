"""Dispatches reads to the engine in the fair queue's order, up to the engine's limits. Identical reads are made
once."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field

from icm_client.contract.errors import ScorerError
from icm_client.contract.wire import is_logprob
from icm_server.adapters.version import Version
from icm_server.engines.base import Engine, ReadAnswer, Route
from icm_server.read_cache.memory import ReadCache, decoded, encoded
from icm_server.scheduling.answers import Answers
from icm_server.scheduling.inflight_limit import InflightLimit
from icm_server.scheduling.planned_read import PlannedRead
from icm_server.sharing.fair_queue import FairQueue, Work
from icm_server.stats.counters import Counters

MAX_AT_ONCE = 256
"""Reads that are dispatched before other tasks get the event loop."""


@dataclass(eq=False, slots=True)
class _Flight:
    """One read in the engine, and all requests that wait for it; the first one is charged."""

    tokens: int
    version: Version
    """Held until the engine is done with the read, also after its requests have ended."""
    waiting: list[tuple[Answers, PlannedRead]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Dispatcher:
    """Takes requests' work and passes the answers to them. Use it in one event loop."""

    def __init__(self, engine: Engine, queue: FairQueue[PlannedRead], read_cache: ReadCache, counters: Counters):
        self._engine, self._queue, self._read_cache, self._counters = engine, queue, read_cache, counters
        self._inflight = InflightLimit(engine.max_concurrent_tokens, counters.clock, engine.members.total)
        self._requests: dict[Work[PlannedRead], Answers] = {}
        self._flights: dict[bytes, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._fill_soon: asyncio.Handle | None = None
        self.num_reads = self.num_tokens = 0
        """In the engine now; tokens as estimated."""

    @property
    def max_tokens(self) -> int:
        """While this many tokens to compute are in the engine, only saved reads are dispatched."""
        return self._inflight.max_tokens(is_shared=self._queue.is_shared)

    def add(self, answers: Answers) -> None:
        """Queues a request's work."""
        work = answers.work
        is_shared = any(
            other.experiment_id != work.experiment_id and other.priority <= work.priority and not other.paused
            for other in self._requests
        )
        self._requests[work] = answers
        self._queue.add(work)
        if is_shared:
            self._inflight.others_wait(is_small=self._queue.is_saved(work))
        self.fill()

    def give_up(self, answers: Answers) -> None:
        """Cancels the request's remaining work, except reads that other requests also wait for."""
        self._queue.remove(answers.work)
        if self._requests.pop(answers.work, None) is None or answers.is_complete:
            return
        for key, flight in list(self._flights.items()):
            flight.waiting = [(other, read) for other, read in flight.waiting if other is not answers]
            if not flight.waiting and flight.task is not None:
                del self._flights[key]  # a later request for the same read starts a new one
                flight.task.cancel()

    def fill(self) -> None:
        """Dispatches reads while there is room. Saved requests may exceed the limit by one step."""
        if self._fill_soon is not None:
            self._fill_soon.cancel()
            self._fill_soon = None
        most = self.max_tokens
        for _ in range(MAX_AT_ONCE):
            is_full = not self._has_room(most)
            # This leaves room for all that one tenant can have saved, whatever other tenants have in the engine.
            has_room = self._has_room(most + self._queue.burst_tokens)
            upcoming = self._queue.take(only_saved=is_full) if has_room else None
            if upcoming is None:
                self._inflight.filled(is_full=is_full)
                return
            self._begin(self._requests[upcoming.work], upcoming.read, upcoming.rank)
        self._fill_later()

    def _fill_later(self) -> None:
        if self._fill_soon is None:
            self._fill_soon = asyncio.get_running_loop().call_soon(self.fill)

    def _has_room(self, most_tokens: int) -> bool:
        return self.num_reads < self._engine.max_concurrent_reads and self.num_tokens < most_tokens

    async def close(self) -> None:
        """Cancels all reads."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, answers: Answers, read: PlannedRead, rank: int) -> None:
        answers.metrics.turn_came()
        known = self._read_cache.get(read.key)
        if known is not None:
            self._queue.correct(answers.work, -read.estimated_new_tokens)
            answers.found(read, decoded(known))
            return
        flight = self._flights.get(read.key)
        if flight is None:
            flight = self._flights[read.key] = _Flight(read.estimated_new_tokens, answers.version)
            flight.version.hold()
            flight.version.reads += 1
            self.num_reads += 1
            self.num_tokens += read.estimated_new_tokens
            flight.task = asyncio.create_task(self._make(flight, read, answers, rank))
            self._tasks.add(flight.task)
            # The callback also runs for a task that was cancelled before it started.
            flight.task.add_done_callback(functools.partial(self._left, flight))
        flight.waiting.append((answers, read))

    def _left(self, flight: _Flight, task: asyncio.Task[None]) -> None:
        """Removes a finished read. The reads of a step end together: all are removed before more are dispatched."""
        self._tasks.discard(task)
        flight.version.release()
        self.num_reads -= 1
        self.num_tokens -= flight.tokens
        self._fill_later()

    async def _make(self, flight: _Flight, read: PlannedRead, answers: Answers, rank: int) -> None:
        outcome: ReadAnswer | Exception
        start = self._counters.clock()
        try:
            ids = answers.ids(read)
            route = Route(read.part, read.estimated_new_tokens)
            outcome = await self._engine.read(ids, read.read.ids, flight.version.key, rank, answers.salt, route)
            self._counters.reads_s.add(self._counters.clock() - start)
        except Exception as error:  # passed to every request that waits for the read
            outcome = error
        if self._flights.get(read.key) is flight:
            del self._flights[read.key]
        self._settle(flight, read, outcome, is_fresh=answers.is_fresh)

    def _settle(self, flight: _Flight, read: PlannedRead, outcome: ReadAnswer | Exception, *, is_fresh: bool) -> None:
        """`is_fresh`: no later request can have the same key."""
        if isinstance(outcome, Exception):
            for answers, _ in flight.waiting:
                answers.fail(outcome)
        elif not all(map(is_logprob, outcome.logprobs)):
            for answers, same in flight.waiting:
                answers.fail(_not_finite(same.prompt, self._engine.info.dtype))
        else:
            self._inflight.done(max(0, read.prompt_tokens - outcome.num_cached_tokens))
            if not is_fresh:
                self._read_cache.remember(read.key, encoded(outcome.logprobs))
            for number, (answers, same) in enumerate(flight.waiting):
                if number == 0:
                    self._queue.correct(
                        answers.work, same.prompt_tokens - outcome.num_cached_tokens - same.estimated_new_tokens
                    )
                    answers.computed(same, *outcome)
                else:
                    self._queue.correct(answers.work, -same.estimated_new_tokens)
                    answers.found(same, outcome.logprobs)


def _not_finite(prompt: int, dtype: str) -> ScorerError:
    return ScorerError(
        f"the model's output for prompt {prompt} is not a log-probability: it overflows in {dtype}, or the weights are "
        "damaged. Try --dtype float32",
        code="not_finite",
    )
