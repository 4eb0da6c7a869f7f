"""Counts and logs one request, from its arrival to its end."""

from __future__ import annotations

import logging

from icm_client.contract.errors import BusyError, DeadlineError, IcmError, RequestError, TooLargeError
from icm_client.contract.wire import ScoreRequest, Usage
from icm_server.auth.tenant import ExperimentId, Tenant
from icm_server.logs import REFUSED, event, last_event
from icm_server.scheduling.request_plan import RequestPlan
from icm_server.stats.counters import Counters, Counts

log = logging.getLogger("icm_server")

OUTCOMES = ("answered", "busy", "too_large", "invalid", "deadline", "cancelled", "failed")
"""How a request may end. The first three errors are rejections, before anything was computed for it."""


class RequestMetrics:
    """Opened when a request arrives. Call either `refused`, or `accepted` and later `ended`."""

    def __init__(self, counters: Counters, request: ScoreRequest, tenant: Tenant):
        self._counters, self._num_prompts = counters, len(request.prompts)
        self._experiment_id = ExperimentId(tenant.name, request.experiment)
        self._entry = counters.of(self._experiment_id)
        self._entry.num_open += 1
        self._start = counters.clock()
        self._queued_at: float | None = None
        self.own = Counts()
        """What was done for this request."""

    def accepted(self, plan: RequestPlan) -> None:
        """The request was admitted and planned, and is in the queue."""
        self._queued_at = self._counters.clock()
        counts = self._entry.counts
        counts.prompts += self._num_prompts
        counts.read_cache_reads += len(plan.known)
        counts.read_cache_tokens += sum(read.prompt_tokens for read, _ in plan.known)
        event(
            log,
            "request accepted",
            **self._experiment_id._asdict(),
            prompts=self._num_prompts,
            reads=plan.num_reads,
            tokens=plan.estimated_new_tokens,
            known_reads=len(plan.known),
        )

    def computed(self, num_computed_tokens: int, num_cached_tokens: int) -> None:
        """The engine made a read for it."""
        for counts in (self.own, self._entry.counts):
            counts.reads += 1
            counts.computed_tokens += num_computed_tokens
            counts.cached_tokens += num_cached_tokens

    def found(self, num_tokens: int) -> None:
        """A read was answered from the read cache, or by a read made for another request."""
        for counts in (self.own, self._entry.counts):
            counts.read_cache_reads += 1
            counts.read_cache_tokens += num_tokens

    def turn_came(self) -> None:
        """A read of the request was dispatched, or needed no dispatch."""
        if self._queued_at is not None:
            self._counters.waits_s.add(self._counters.clock() - self._queued_at)
            self._queued_at = None

    def refused(self, error: BaseException) -> None:
        """The request was rejected."""
        outcome = outcome_of(error)
        self._close(outcome)
        last_event(
            log,
            REFUSED,
            **self._experiment_id._asdict(),
            prompts=self._num_prompts,
            outcome=outcome,
            code=error.code if isinstance(error, IcmError) else type(error).__name__,
        )

    def ended(self, error: Exception | None, *, complete: bool, usage: Usage) -> None:
        """The request has ended; no more work is done for it."""
        outcome = "answered" if complete else outcome_of(error)
        seconds = self._close(outcome)
        if complete:
            self._counters.requests_s.add(seconds)
            self._entry.latencies_s.append(seconds)
        last_event(
            log,
            "request finished",
            **self._experiment_id._asdict(),
            outcome=outcome,
            seconds=round(seconds, 4),
            prompts=self._num_prompts,
            reads=usage.num_reads,
            computed_tokens=usage.computed_tokens,
            cached_tokens=usage.cached_tokens,
            read_cache_prompts=usage.read_cache_prompts,
        )

    def _close(self, outcome: str) -> float:
        self._entry.outcomes[outcome] += 1
        self._entry.num_open -= 1
        self._entry.seen_at = self._counters.clock()
        return self._entry.seen_at - self._start


def outcome_of(error: BaseException | None) -> str:
    """One of OUTCOMES; without an error, the client has disconnected."""
    match error:
        case BusyError():
            return "busy"
        case TooLargeError():
            return "too_large"
        case RequestError():
            return "invalid"
        case DeadlineError():
            return "deadline"
        case Exception():
            return "failed"
        case _:  # cancelled: the client disconnected, or the scorer stops
            return "cancelled"
