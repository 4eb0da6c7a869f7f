"""One running request: its work for the queue, and its rows for the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack

from icm_client.contract.wire import ScoreRequest, Usage
from icm_server.adapters.version import Version
from icm_server.auth.tenant import ANYONE, ExperimentId, Tenant
from icm_server.read_cache.memory import decoded
from icm_server.scheduling.admission import Ticket
from icm_server.scheduling.planned_read import PlannedRead
from icm_server.scheduling.request_metrics import RequestMetrics
from icm_server.scheduling.request_plan import RequestPlan
from icm_server.scheduling.row_assembly import RowAssembly
from icm_server.scheduling.row_buffer import RowBatch, RowBuffer
from icm_server.sharing.fair_queue import Work
from icm_server.tokens.token_path import PathCursor


class Answers:
    """Iterate over `batches`, after which `usage` is final. `close` cancels the reads that are not done.

    Use it in one event loop. `resume` is called when paused work may continue.
    """

    def __init__(
        self,
        request: ScoreRequest,
        plan: RequestPlan,
        ticket: Ticket,
        metrics: RequestMetrics,
        resume: Callable[[], None],
        version: Version,
        tenant: Tenant = ANYONE,
        salt: str | None = None,
    ):
        self.version, self.salt = version, salt
        self.is_fresh = request.fresh
        """Its reads are shared with no other request, now or later."""
        self.num_prompts = len(plan.first_of)
        self.work: Work[PlannedRead] = Work(
            ExperimentId(tenant.name, request.experiment), plan.quanta, request.priority, tenant.weight
        )
        self.metrics = metrics
        self._plan, self._ticket, self._resume = plan, ticket, resume
        self._assembly = RowAssembly(plan)
        self._buffer = RowBuffer(len(request.labels), self._pause, self._go_on)
        self._cursor = PathCursor()
        self._error: Exception | None = None
        self._closing = ExitStack()
        self.on_close(ticket.close)

    @property
    def usage(self) -> Usage:
        """What the request has cost so far."""
        counts = self.metrics.own
        return Usage(
            prompt_tokens=sum(prompt.path.length for prompt in self._plan.prompts),
            computed_tokens=counts.computed_tokens,
            cached_tokens=counts.cached_tokens,
            num_reads=counts.reads,
            read_cache_prompts=self._assembly.num_from_cache,
            joined_texts=self._plan.joined_texts,
        )

    @property
    def is_complete(self) -> bool:
        return self._assembly.num_left == 0

    async def batches(self) -> AsyncIterator[RowBatch]:
        """All rows, each once, in the order of completion, in small batches. Raises the error passed to `fail`."""
        for read, answer in self._plan.known:
            self._add(read, decoded(answer), computed=False)
            while self._buffer.fills_a_batch:
                yield self._buffer.take()
                await asyncio.sleep(0)  # other tasks need the event loop as well
        while True:
            if not self.is_complete and self._error is None:
                await self._buffer.wait()
            if self._error is not None:
                raise self._error
            rows = self._buffer.take()
            if rows.prompts:
                yield rows
                await asyncio.sleep(0)
            if self.is_complete and self._buffer.is_empty:
                return

    def ids(self, read: PlannedRead) -> list[int]:
        """The read's tokens. Cheap if reads follow each other depth first."""
        return self._cursor.ids(self._plan.prompts[read.prompt].path, read.read.path)

    def computed(self, read: PlannedRead, logprobs: Sequence[float], num_cached_tokens: int) -> None:
        """The engine made this read for this request."""
        self.metrics.computed(read.prompt_tokens - num_cached_tokens, num_cached_tokens)
        self._ticket.done(read.estimated_new_tokens)
        self._add(read, logprobs, computed=True)

    def found(self, read: PlannedRead, logprobs: Sequence[float]) -> None:
        """The read was answered from the read cache, or by a read made for another request."""
        self.metrics.found(read.prompt_tokens)
        self._ticket.done(read.estimated_new_tokens)
        self._add(read, logprobs, computed=False)

    def fail(self, error: Exception) -> None:
        """Ends the request with this error, unless it is complete or has failed already."""
        if self._error is None and not self.is_complete:
            self._error = error
            self._pause()
            self._buffer.wake()

    def on_close(self, callback: Callable[..., object], *args: object) -> None:
        """Registers a callback for `close`; the last one added is called first."""
        self._closing.callback(callback, *args)

    def end_metrics(self) -> None:
        """Ends the request's metrics."""
        self.metrics.ended(self._error, complete=self.is_complete, usage=self.usage)

    def close(self) -> None:
        """Cancels the remaining work. May be called again."""
        self._closing.close()
        self._buffer.close()

    def _add(self, read: PlannedRead, logprobs: Sequence[float], *, computed: bool) -> None:
        row = self._assembly.add(read, logprobs, computed=computed)
        if row is not None:
            self._buffer.put(row.prompts, row.logprobs, is_last=self.is_complete)

    def _pause(self) -> None:
        self.work.paused = True

    def _go_on(self) -> None:
        if self.work.paused and self._error is None:
            self.work.paused = False
            self._resume()
