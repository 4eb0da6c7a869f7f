"""Admission control: a request is accepted or rejected as a whole, before anything of it is computed.

A request that does not fit now is rejected with 429 and the time after which it probably fits; a request that exceeds a
limit by itself is rejected with 413. Each experiment of a tenant has limits of its own. Tenants share the scorer's
limits so that no tenant can use all of them (`shared_limit.py`); without keys there is one tenant, which can.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from icm_client.contract.errors import BusyError, TooLargeError
from icm_server.auth.tenant import ANYONE, Tenant
from icm_server.config import Limits
from icm_server.sharing.rate import Rate
from icm_server.sharing.shared_limit import fits, most_alone

UNKNOWN_WAIT_S = 5.0
"""The suggested delay while the throughput is not known."""
MAX_WAIT_S = 300.0


What = Literal["tokens", "reads", "requests"]


@dataclass(slots=True)
class QueuedWork:
    """Admitted work that is not done."""

    requests: int = 0
    reads: int = 0
    tokens: int = 0

    def of(self, what: What) -> int:
        return int(getattr(self, what))

    def __add__(self, other: QueuedWork) -> QueuedWork:
        return QueuedWork(self.requests + other.requests, self.reads + other.reads, self.tokens + other.tokens)

    def add(self, requests: int, reads: int, tokens: int) -> None:
        self.requests += requests
        self.reads += reads
        self.tokens += tokens


@dataclass(slots=True)
class TenantWork:
    """One tenant's part of it."""

    weight: float
    total: QueuedWork = field(default_factory=QueuedWork)
    experiments: dict[str, QueuedWork] = field(default_factory=dict)
    """Experiments with work."""


class Admission:
    """Counts admitted work: in total, by tenant, and by experiment within a tenant."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic, *, has_keys: bool = False):
        """`has_keys`: tenants share the scorer, so each is limited to its part."""
        self._limits, self._has_keys = limits, has_keys
        self.total = QueuedWork()
        self.keys: dict[str, TenantWork] = {}
        """Tenants with work."""
        self.rate = Rate(clock)
        """Throughput in tokens per second."""

    @property
    def max_reads(self) -> int:
        """The most reads that one request may need."""
        return min(self._limits.max_experiment_reads, self._most("reads"))

    @property
    def num_experiments(self) -> int:
        """Those with work. Equal names of two tenants count as two."""
        return sum(len(theirs.experiments) for theirs in self.keys.values())

    def admit(self, experiment: str, num_prompts: int, tenant: Tenant = ANYONE) -> Ticket:
        """Admits a request by its number of prompts. Raises TooLargeError or BusyError."""
        if num_prompts > self._limits.max_prompts:
            raise _too_large("prompts", num_prompts, self._limits.max_prompts)
        ticket = Ticket(self, experiment, tenant)
        self._check(ticket, QueuedWork(1, num_prompts, 0))
        ticket._add(1, num_prompts, 0)
        return ticket

    def check_one_more(self, tenant: Tenant = ANYONE) -> None:
        """Raises BusyError if no request of the tenant fits now, whatever its size."""
        if self._has_keys:
            self._check_shared("requests", 1, self.keys.get(tenant.name) or TenantWork(tenant.weight))
        else:
            self._check_limit("requests", 1, self.total, self._limits.max_requests, "the scorer", 1.0)

    def _most(self, what: What) -> int:
        """The most that one tenant may have while no other has work."""
        limit = int(getattr(self._limits, f"max_{what}"))
        return most_alone(limit) if self._has_keys else limit

    def _check(self, ticket: Ticket, size: QueuedWork) -> None:
        """Raises TooLargeError or BusyError if a request of this total size does not fit."""
        tenant, experiment = ticket.tenant, ticket.experiment
        theirs = self.keys.get(tenant.name) or TenantWork(tenant.weight)
        own = theirs.experiments.get(experiment, QueuedWork())
        experiments_share = self._share(theirs) / max(1, len(theirs.experiments))
        for what in get_args(What):
            more = size.of(what) - ticket.work.of(what)
            limits = [
                (own, getattr(self._limits, f"max_experiment_{what}"), f"experiment {experiment!r}", experiments_share)
            ]
            if what == "tokens" and tenant.max_queued_tokens is not None:
                limits.append((theirs.total, tenant.max_queued_tokens, "this API key", self._share(theirs)))
            if not self._has_keys:
                limits.append((self.total, self._most(what), "the scorer", 1.0))
            most = min(self._most(what), *(limit for _, limit, _, _ in limits))
            if size.of(what) > most:
                is_key = what == "tokens" and most == tenant.max_queued_tokens
                raise _too_large(what, size.of(what), most, f", {tenant.limit_text}" if is_key else "")
            if more <= 0:
                continue
            for work, limit, whose, share in limits:
                self._check_limit(what, more, work, limit, whose, share)
            if self._has_keys:
                self._check_shared(what, more, theirs)

    def _check_limit(self, what: What, more: int, work: QueuedWork, limit: int, whose: str, share: float) -> None:
        """Raises BusyError if `more` does not fit. The holder's work is done with this share of the engine."""
        if work.of(what) + more > limit:
            wait_s = self._wait_s(work, what, work.of(what) + more - limit, share)
            raise _busy(f"{whose} has", what, more, work.of(what), limit, "", wait_s)

    def _check_shared(self, what: What, more: int, theirs: TenantWork) -> None:
        """Raises BusyError if `more` does not fit in the tenant's part of what all tenants share."""
        limit: int = getattr(self._limits, f"max_{what}")
        own, total = theirs.total.of(what), self.total.of(what)
        if fits(more, own, total, limit):
            return
        # Each token of its own that is done makes room twice: in its part and in the free part. A token of others makes
        # room once.
        wait_s = self._wait_s(self.total, what, own + total + 2 * more - limit, 1 + self._share(theirs))
        part = own + max(0, limit - total - own) // 2
        others = " while others use the scorer" if own < total else ""
        raise _busy("this API key has", what, more, own, part, others, wait_s)

    def _share(self, key: TenantWork) -> float:
        """The tenant's share of the engine among tenants with work."""
        return key.weight / max(key.weight, sum(each.weight for each in self.keys.values()))

    def _wait_s(self, work: QueuedWork, what: What, over: int, share: float) -> float:
        """How long until this much of the work is done with this share of the engine."""
        rate = self.rate.value()
        if rate is None or not work.of(what):
            return UNKNOWN_WAIT_S
        tokens = work.tokens * over / work.of(what)
        return min(MAX_WAIT_S, max(1.0, tokens / (rate * share)))


class Ticket:
    """The work of one admitted request. It has to be closed at the end of the request."""

    def __init__(self, admission: Admission, experiment: str, tenant: Tenant):
        self._admission, self.experiment, self.tenant = admission, experiment, tenant
        self.work = QueuedWork()

    def settle(self, reads: int, tokens: int) -> None:
        """Replaces the estimate after planning. Raises TooLargeError or BusyError; the ticket then has to be closed."""
        self._admission._check(self, QueuedWork(self.work.requests, reads, tokens))
        self._add(0, reads - self.work.reads, tokens - self.work.tokens)

    def done(self, tokens: int) -> None:
        """Records that one read of this many tokens, as estimated, is done."""
        self._admission.rate.done(tokens)
        self._add(0, -1, -tokens)

    def close(self) -> None:
        """Releases the work that was not done."""
        self._add(-self.work.requests, -self.work.reads, -self.work.tokens)

    def _add(self, requests: int, reads: int, tokens: int) -> None:
        admission = self._admission
        if requests > 0 and not admission.total.requests:
            admission.rate.begin()
        theirs = admission.keys.setdefault(self.tenant.name, TenantWork(self.tenant.weight))
        own = theirs.experiments.setdefault(self.experiment, QueuedWork())
        for work in (self.work, own, theirs.total, admission.total):
            work.add(requests, reads, tokens)
        if not own.requests:
            del theirs.experiments[self.experiment]
        if not theirs.total.requests:
            del admission.keys[self.tenant.name]
        if requests < 0 and not admission.total.requests:
            admission.rate.end()


def _too_large(what: str, number: int, limit: int, which: str = "") -> TooLargeError:
    return TooLargeError(
        f"the request has {number} {what}; the limit per request is {limit}{which}: split it",
        details={what: number, "limit": limit},
    )


def _busy(whose: str, what: What, more: int, held: int, limit: int, while_what: str, retry_after_s: float) -> BusyError:
    return BusyError(
        f"queue limit reached: {whose} {held} {what} queued of at most {limit}{while_what}, and the request has {more} "
        "more",
        retry_after_s=retry_after_s,
        details={what: more, "held": held, "limit": limit},
    )
