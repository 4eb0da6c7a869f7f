"""What is let in: a request is taken whole, or refused whole before anything of it is computed.

Refused for now (429, with the time after which it is likely to fit), or for good where it alone is more than the
scorer ever takes (413).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from icm_client.errors import BusyError, TooLargeError
from icm_server.config import Limits
from icm_server.rate import Rate
from icm_server.tenant import ANYONE, Tenant

UNKNOWN_WAIT_S = 5.0
"""How long to wait while it is not known how fast work gets done."""
MAX_WAIT_S = 300.0


@dataclass(slots=True)
class Held:
    """Work that was let in and is not done."""

    requests: int = 0
    reads: int = 0
    tokens: int = 0

    def add(self, requests: int, reads: int, tokens: int) -> None:
        self.requests += requests
        self.reads += reads
        self.tokens += tokens


class Admission:
    """Counts what is held, in all, by experiment and by tenant."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self._limits = limits
        self.total = Held()
        self.by_experiment: dict[str, Held] = {}
        self.by_tenant: dict[str, Held] = {}
        self._requests: Counter[tuple[str, str]] = Counter()
        """By tenant and experiment."""
        self.rate = Rate(clock)
        """Tokens done a second."""

    def admit(self, experiment: str, num_prompts: int, tenant: Tenant = ANYONE) -> Ticket:
        """Lets a request in as far as its prompts' number goes. Raises TooLargeError or BusyError."""
        if num_prompts > self._limits.max_prompts:
            raise _too_large("prompts", num_prompts, self._limits.max_prompts)
        self._check(experiment, tenant, 1, num_prompts, 0)
        ticket = Ticket(self, experiment, tenant)
        ticket._add(1, num_prompts, 0)
        return ticket

    def _check(self, experiment: str, tenant: Tenant, requests: int, reads: int, tokens: int) -> None:
        """Raises if so much more does not fit."""
        limits, mine = self._limits, self.by_experiment.get(experiment, Held())
        theirs = self.by_tenant.get(tenant.name, Held())
        name, key = f"experiment {experiment!r}", f"the API key {tenant.name!r}"
        num_theirs = sum(whose == tenant.name for whose, _ in self._requests)
        for what, more, held, limit, whose in (
            ("reads", reads, mine, limits.max_experiment_reads, name),
            ("reads", reads, self.total, limits.max_reads, "the scorer"),
            ("tokens", tokens, mine, limits.max_experiment_tokens, name),
            ("tokens", tokens, theirs, tenant.max_queued_tokens or sys.maxsize, key),
            ("tokens", tokens, self.total, limits.max_tokens, "the scorer"),
            ("requests", requests, mine, limits.max_experiment_requests, name),
            ("requests", requests, self.total, limits.max_requests, "the scorer"),
        ):
            num_held = getattr(held, what)
            if more > limit:
                raise _too_large(what, more, limit)
            if num_held + more > limit:
                over = (num_held + more - limit) / num_held
                raise BusyError(
                    f"{whose} has {num_held} {what} waiting, and takes {limit} at most: {more} more do not fit now",
                    retry_after_s=self._wait_s(over, held, num_theirs if held is theirs else 1),
                    details={what: more, "held": num_held, "limit": limit},
                )

    def _wait_s(self, part: float, held: Held, num_mine: int) -> float:
        """How long until this part of what is held, of `num_mine` experiments, is done, if all share alike."""
        rate = self.rate.value()
        if rate is None:
            return UNKNOWN_WAIT_S
        if held is not self.total:
            rate *= num_mine / max(1, len(self.by_experiment))
        return min(MAX_WAIT_S, max(1.0, part * held.tokens / rate))


class Ticket:
    """One request's part of what is held. Close it, whatever becomes of the request."""

    def __init__(self, admission: Admission, experiment: str, tenant: Tenant):
        self._admission, self._experiment, self._tenant = admission, experiment, tenant
        self._held = Held()

    def settle(self, reads: int, tokens: int) -> None:
        """Now that it is known what the request needs. Raises TooLargeError or BusyError; it is to be closed then."""
        mine = self._held
        more_reads, more_tokens = max(0, reads - mine.reads), max(0, tokens - mine.tokens)
        self._admission._check(self._experiment, self._tenant, 0, more_reads, more_tokens)
        self._add(0, reads - mine.reads, tokens - mine.tokens)

    def done(self, tokens: int) -> None:
        """One read of so many tokens, as estimated, is done."""
        self._admission.rate.done(tokens)
        self._add(0, -1, -tokens)

    def close(self) -> None:
        """Nothing more will be done of it."""
        self._add(-self._held.requests, -self._held.reads, -self._held.tokens)

    def _add(self, requests: int, reads: int, tokens: int) -> None:
        admission = self._admission
        if requests > 0 and not admission.total.requests:
            admission.rate.begin()
        mine = admission.by_experiment.setdefault(self._experiment, Held())
        theirs = admission.by_tenant.setdefault(self._tenant.name, Held())
        admission._requests[self._tenant.name, self._experiment] += requests
        if not admission._requests[self._tenant.name, self._experiment]:
            del admission._requests[self._tenant.name, self._experiment]
        for held in (self._held, mine, theirs, admission.total):
            held.add(requests, reads, tokens)
        if not mine.requests:
            del admission.by_experiment[self._experiment]
        if not theirs.requests:
            del admission.by_tenant[self._tenant.name]
        if requests < 0 and not admission.total.requests:
            admission.rate.end()


def _too_large(what: str, number: int, limit: int) -> TooLargeError:
    return TooLargeError(
        f"the request has {number} {what}, more than the {limit} that this scorer takes at once: split it",
        details={what: number, "limit": limit},
    )
