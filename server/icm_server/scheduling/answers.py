"""One request's answers: collected read by read, handed on as rows as soon as they are complete."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from icm_client.contract.label_trie import TrieRead
from icm_client.contract.wire import ScoreRequest, Usage
from icm_server.auth.tenant import ANYONE, Asker, Tenant
from icm_server.read_cache.memory import decoded
from icm_server.scheduling.admission import Ticket
from icm_server.scheduling.request_metrics import Account
from icm_server.scheduling.request_plan import Plan, PlannedRead
from icm_server.sharing.fair_queue import Work
from icm_server.tokens.token_path import PathCursor

FLUSH_EVERY_S = 0.05
"""Rows are handed on together with those that follow within this time."""
MAX_READY_VALUES = 2**16
"""Log-probabilities that wait for whoever takes them; with more, the request's reads wait too."""
MAX_TAKEN_VALUES = 2**13
"""So many are handed on at once: a millisecond's work for whoever writes them down."""


class Rows(NamedTuple):
    """The labels' log-probabilities (`logprobs[k]`, a row) after prompt number `prompts[k]`."""

    prompts: list[int]
    logprobs: list[list[float]]


class Answers:
    """Iterate over `batches`, then `usage` is final; `close` it, which gives up what has not been read.

    Use it in one event loop. `resume` is called when work that was paused may go on.
    """

    def __init__(
        self,
        request: ScoreRequest,
        plan: Plan,
        ticket: Ticket,
        account: Account,
        resume: Callable[[], None],
        tenant: Tenant = ANYONE,
        salt: str | None = None,
    ):
        self.model, self.salt = request.model, salt
        self.is_fresh = request.fresh
        """Its reads answer nobody else, now or later."""
        self.num_prompts = len(plan.first_of)
        self.work: Work[PlannedRead] = Work(
            Asker(tenant.name, request.experiment), plan.quanta, request.priority, tenant.weight
        )
        self.closing = ExitStack()
        """What `close` does."""
        self.account = account
        self._plan, self._ticket, self._resume = plan, ticket, resume
        self._copies: dict[int, list[int]] = defaultdict(list)
        for number, first in enumerate(plan.first_of):
            if number != first:
                self._copies[first].append(number)
        self._found: dict[int, dict[TrieRead, Sequence[float]]] = {}
        self._made: set[int] = set()
        """Prompts for which the engine made a read, on behalf of this request."""
        self._cursor = PathCursor()
        self._ready = Rows([], [])
        self._max_ready = max(1, MAX_READY_VALUES // len(request.labels))
        self._max_taken = max(1, MAX_TAKEN_VALUES // len(request.labels))
        self._num_left = self.num_prompts
        self._num_reads = self._computed = self._cached = self._reused = 0
        self._error: Exception | None = None
        self._wake = asyncio.Event()
        self._flush: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0

    @property
    def usage(self) -> Usage:
        """What it cost until now."""
        return Usage(
            prompt_tokens=sum(prompt.path.length for prompt in self._plan.prompts),
            computed_tokens=self._computed,
            cached_tokens=self._cached,
            num_reads=self._num_reads,
            reused_prompts=self._reused,
            joined_texts=self._plan.joined_texts,
        )

    @property
    def is_complete(self) -> bool:
        return self._num_left == 0

    async def batches(self) -> AsyncIterator[Rows]:
        """All rows, each once, in the order in which they are done, few at a time. Raises what `fail` was told."""
        for read, answer in self._plan.known:
            self._add(read, decoded(answer))
            while len(self._ready.prompts) >= self._max_taken:
                yield self._taken()
                await asyncio.sleep(0)  # others want the event loop as well
        while True:
            if not self.is_complete and self._error is None:
                await self._wake.wait()
            if self._error is not None:
                raise self._error
            rows = self._taken()
            if rows.prompts:
                yield rows
                await asyncio.sleep(0)
            if self.is_complete and not self._ready.prompts:
                return

    def ids(self, read: PlannedRead) -> list[int]:
        """The read's tokens. Cheap if reads follow each other depth first."""
        return self._cursor.ids(self._plan.prompts[read.prompt].path, read.read.path)

    def made(self, read: PlannedRead, logprobs: Sequence[float], num_cached_tokens: int) -> None:
        """The engine made this read for this request."""
        num_computed = read.num_tokens - num_cached_tokens
        self._num_reads += 1
        self._computed += num_computed
        self._cached += num_cached_tokens
        counts = self.account.counts
        counts.reads += 1
        counts.computed_tokens += num_computed
        counts.cached_tokens += num_cached_tokens
        self._made.add(read.prompt)
        self._ticket.done(read.tokens)
        self._add(read, logprobs)

    def reused(self, read: PlannedRead, logprobs: Sequence[float]) -> None:
        """The read had been made before, or was made for another request."""
        self.account.counts.reused_reads += 1
        self.account.counts.reused_tokens += read.num_tokens
        self._ticket.done(read.tokens)
        self._add(read, logprobs)

    def fail(self, error: Exception) -> None:
        """Ends it with this error, unless it is complete or has failed already."""
        if self._error is None and not self.is_complete:
            self._error = error
            self.work.paused = True
            self._wake.set()

    def end_account(self) -> None:
        """What has been done until now is all that it was."""
        self.account.ended(self._error, complete=self.is_complete, usage=self.usage)

    def close(self) -> None:
        """May be called again."""
        self.closing.close()
        if self._flush is not None:
            self._flush.cancel()

    def _add(self, read: PlannedRead, logprobs: Sequence[float]) -> None:
        trie = self._plan.prompts[read.prompt].trie
        found = self._found.setdefault(read.prompt, {})
        found[read.read] = logprobs
        if len(found) < len(trie.reads):
            return
        row = trie.logprobs(self._found.pop(read.prompt))
        numbers = [read.prompt, *self._copies.get(read.prompt, ())]
        self._ready.prompts.extend(numbers)
        self._ready.logprobs.extend([row] * len(numbers))
        self._num_left -= len(numbers)
        self._reused += len(numbers) - (read.prompt in self._made)
        self._announce()

    def _announce(self) -> None:
        """Wakes whoever takes rows: at once if there are many or no more to come, else a little later."""
        if len(self._ready.prompts) >= self._max_ready:
            self.work.paused = True
            self._wake.set()
        elif self.is_complete:
            self._wake.set()
        elif self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_at(max(loop.time(), self._flushed_at + FLUSH_EVERY_S), self._wake.set)

    def _taken(self) -> Rows:
        """The next rows. What is left of them can be taken at once."""
        prompts, logprobs = self._ready
        rows = Rows(prompts[: self._max_taken], logprobs[: self._max_taken])
        del prompts[: self._max_taken], logprobs[: self._max_taken]
        if not self._ready.prompts:
            self._wake.clear()
        self._flushed_at = asyncio.get_running_loop().time()
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self.work.paused and self._error is None and len(self._ready.prompts) < self._max_ready:
            self.work.paused = False
            self._resume()
        return rows
