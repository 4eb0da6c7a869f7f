"""What is let in: a request is taken whole, or refused whole before anything of it is computed.

Refused for now (429, with the time after which it is likely to fit), or for good where it alone is more than the
scorer ever takes (413).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from icm_client.errors import BusyError, TooLargeError
from icm_server.config import Limits
from icm_server.rate import Rate

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
    """Counts what is held, in all and by experiment."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self._limits = limits
        self.total = Held()
        self.by_experiment: dict[str, Held] = {}
        self.rate = Rate(clock)
        """Tokens done a second."""

    def admit(self, experiment: str, num_prompts: int) -> Ticket:
        """Lets a request in as far as its prompts' number goes. Raises TooLargeError or BusyError."""
        if num_prompts > self._limits.max_prompts:
            raise _too_large("prompts", num_prompts, self._limits.max_prompts)
        self._check(experiment, 1, num_prompts, 0)
        ticket = Ticket(self, experiment)
        ticket._add(1, num_prompts, 0)
        return ticket

    def _check(self, experiment: str, requests: int, reads: int, tokens: int) -> None:
        """Raises if so much more does not fit."""
        limits, mine = self._limits, self.by_experiment.get(experiment, Held())
        theirs = f"experiment {experiment!r}"
        for what, more, held, limit, whose in (
            ("reads", reads, mine.reads, limits.max_experiment_reads, theirs),
            ("reads", reads, self.total.reads, limits.max_reads, "the scorer"),
            ("tokens", tokens, mine.tokens, limits.max_experiment_tokens, theirs),
            ("tokens", tokens, self.total.tokens, limits.max_tokens, "the scorer"),
            ("requests", requests, mine.requests, limits.max_experiment_requests, theirs),
            ("requests", requests, self.total.requests, limits.max_requests, "the scorer"),
        ):
            if more > limit:
                raise _too_large(what, more, limit)
            if held + more > limit:
                over = (held + more - limit) / held
                raise BusyError(
                    f"{whose} has {held} {what} waiting, and takes {limit} at most: {more} more do not fit now",
                    retry_after_s=self._wait_s(over, mine if whose is theirs else self.total),
                    details={what: more, "held": held, "limit": limit},
                )

    def _wait_s(self, part: float, held: Held) -> float:
        """How long until this part of what is held is done, if all experiments that hold any share alike."""
        rate = self.rate.value()
        if rate is None:
            return UNKNOWN_WAIT_S
        if held is not self.total:
            rate /= max(1, len(self.by_experiment))
        return min(MAX_WAIT_S, max(1.0, part * held.tokens / rate))


class Ticket:
    """One request's part of what is held. Close it, whatever becomes of the request."""

    def __init__(self, admission: Admission, experiment: str):
        self._admission, self._experiment = admission, experiment
        self._held = Held()

    def settle(self, reads: int, tokens: int) -> None:
        """Now that it is known what the request needs. Raises TooLargeError or BusyError; it is to be closed then."""
        mine = self._held
        self._admission._check(self._experiment, 0, max(0, reads - mine.reads), max(0, tokens - mine.tokens))
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
        for held in (self._held, mine, admission.total):
            held.add(requests, reads, tokens)
        if not mine.requests:
            del admission.by_experiment[self._experiment]
        if requests < 0 and not admission.total.requests:
            admission.rate.end()


def _too_large(what: str, number: int, limit: int) -> TooLargeError:
    return TooLargeError(
        f"the request has {number} {what}, more than the {limit} that this scorer takes at once: split it",
        details={what: number, "limit": limit},
    )
