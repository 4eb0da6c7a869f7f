"""Decides what to retry, and when. Pure: no clock and no network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import numpy as np

from icm_client.contract.errors import BusyError, IcmError, RequestError, UnavailableError

LONGEST_WAIT_S = 86_400.0
"""A longer wait requested by a scorer is cut to this."""


@dataclass(frozen=True)
class RetryPolicy:
    """Waits double from `first_wait_s` to `max_wait_s`, with jitter; a time given by the scorer takes precedence.

    Only errors without side effects are retried: connection errors, 429 and 503. Scoring has no side effects, so a lost
    answer may be requested again.
    """

    patience_s: float = 300.0
    """How long a scorer may be unavailable: unreachable, or not ready. It counts from the first failure since part of
    an answer arrived; of several scorers, each is asked once before it ends."""
    unreachable_s: float = 300.0
    """How long an address may accept no connection before the first one: it is probably wrong."""
    first_wait_s: float = 0.25
    max_wait_s: float = 15.0
    busy_patience_s: float = 3600.0
    """How long a reachable scorer may reject work because it is full."""

    def __post_init__(self) -> None:
        """Raises RequestError for values that are not numbers of seconds."""
        for name, seconds in vars(self).items():
            check_seconds(seconds, name)

    def wait_s(self, error: IcmError, attempt: int, spent_s: float, rng: np.random.Generator) -> float | None:
        """Seconds to wait before attempt number `attempt` + 1 (counted from 1), or None to give up."""
        if not isinstance(error, BusyError | UnavailableError):
            return None
        base = error.retry_after_s
        if base is None:
            base = min(self.first_wait_s * 2 ** min(attempt - 1, 16), self.max_wait_s)
        wait_s = max(base, self.first_wait_s) * (1.0 + 0.25 * float(rng.random()))
        patience_s = self.busy_patience_s if isinstance(error, BusyError) else self.patience_s
        return wait_s if spent_s + wait_s <= patience_s else None


def is_unconnected(error: IcmError) -> bool:
    """Whether nothing accepted the connection: nothing listens at the address, its name is unknown, or its
    machine is off."""
    return isinstance(error, UnavailableError) and error.details.get("is_connected") is False


def check_seconds(seconds: float, name: str) -> None:
    """Raises RequestError for NaN, infinity, or a negative number, with which a wait might never end."""
    if not 0 <= seconds < math.inf:
        raise RequestError(f"{name} is {seconds}: it has to be a finite number of seconds, 0 or more")


class Tries:
    """The attempts of one request: how many have failed since its last progress, and since when. Times are from any
    monotonic clock."""

    def __init__(self, policy: RetryPolicy):
        self._policy = policy
        self.progressed()

    def progressed(self) -> None:
        """Part of the answer has arrived: the limits count from the next failure."""
        self._num_failed = 0
        self._gone_since_s: float | None = None
        self._busy_since_s: float | None = None

    def failed(self, error: IcmError, now_s: float, rng: np.random.Generator) -> float | None:
        """Seconds to wait before the next try, or None to give up."""
        if isinstance(error, UnavailableError):
            since_s = self._gone_since_s = now_s if self._gone_since_s is None else self._gone_since_s
            if error.others_left:
                return 0.0
        else:
            self._gone_since_s = None  # the scorer is reachable
            since_s = self._busy_since_s = now_s if self._busy_since_s is None else self._busy_since_s
        self._num_failed += 1
        return self._policy.wait_s(error, self._num_failed, now_s - since_s, rng)


def retry_after_s(header: str, now: datetime | None = None) -> float | None:
    """Seconds from a Retry-After header, which is a number or a date, at most LONGEST_WAIT_S; None for anything
    else."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = (date - (now or datetime.now(UTC))).total_seconds()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT_S) if math.isfinite(seconds) else None
