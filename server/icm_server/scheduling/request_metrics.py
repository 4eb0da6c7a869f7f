"""One request's account: what is counted and logged of it from its arrival to its end."""

from __future__ import annotations

import logging

from icm_client.contract.errors import BusyError, DeadlineError, IcmError, RequestError, TooLargeError
from icm_client.contract.wire import ScoreRequest, Usage
from icm_server.auth.tenant import Asker, Tenant
from icm_server.logs import REFUSED, event, last_event
from icm_server.scheduling.request_plan import Plan
from icm_server.stats.counters import Tallies

log = logging.getLogger("icm_server")

OUTCOMES = ("answered", "busy", "too_large", "invalid", "deadline", "given_up", "failed")
"""How a request may end. The first three errors are refusals, before anything was computed for it."""


class Account:
    """Opened when a request arrives; either `refused` or `accepted`, and then `ended`."""

    def __init__(self, tallies: Tallies, request: ScoreRequest, tenant: Tenant):
        self._tallies, self._num_prompts = tallies, len(request.prompts)
        self._asker = Asker(tenant.name, request.experiment)
        self._tally = tallies.of(self._asker)
        self._tally.num_open += 1
        self._start = tallies.clock()
        self._queued_at: float | None = None
        self.counts = self._tally.counts

    def accepted(self, plan: Plan) -> None:
        """It is let in and planned, and waits from now on."""
        self._queued_at = self._tallies.clock()
        self.counts.prompts += self._num_prompts
        self.counts.reused_reads += len(plan.known)
        self.counts.reused_tokens += sum(read.num_tokens for read, _ in plan.known)
        event(
            log,
            "request accepted",
            **self._asker._asdict(),
            prompts=self._num_prompts,
            reads=plan.num_reads,
            tokens=plan.tokens,
            known_reads=len(plan.known),
        )

    def turn_came(self) -> None:
        """A read of it is begun, or need not be."""
        if self._queued_at is not None:
            self._tallies.waits_s.add(self._tallies.clock() - self._queued_at)
            self._queued_at = None

    def refused(self, error: BaseException) -> None:
        """It is not let in."""
        outcome = outcome_of(error)
        self._close(outcome)
        last_event(
            log,
            REFUSED,
            **self._asker._asdict(),
            prompts=self._num_prompts,
            outcome=outcome,
            code=error.code if isinstance(error, IcmError) else type(error).__name__,
        )

    def ended(self, error: Exception | None, *, complete: bool, usage: Usage) -> None:
        """Nothing more will be done for it."""
        outcome = "answered" if complete else outcome_of(error)
        seconds = self._close(outcome)
        if complete:
            self._tallies.requests_s.add(seconds)
            self._tally.latencies_s.append(seconds)
        last_event(
            log,
            "request finished",
            **self._asker._asdict(),
            outcome=outcome,
            seconds=round(seconds, 4),
            prompts=self._num_prompts,
            reads=usage.num_reads,
            computed_tokens=usage.computed_tokens,
            cached_tokens=usage.cached_tokens,
            reused_prompts=usage.reused_prompts,
        )

    def _close(self, outcome: str) -> float:
        self._tally.outcomes[outcome] += 1
        self._tally.num_open -= 1
        self._tally.seen_at = self._tallies.clock()
        return self._tally.seen_at - self._start


def outcome_of(error: BaseException | None) -> str:
    """One of OUTCOMES; without an error, whoever asked has gone."""
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
        case _:  # cancelled: the caller has gone, or the scorer stops
            return "given_up"
