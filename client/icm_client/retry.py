"""What may be retried, and when: pure decisions, no clock and no network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icm_client.errors import BusyError, IcmError, UnavailableError


@dataclass(frozen=True)
class RetryPolicy:
    """Waits double from `first_wait_s` to `max_wait_s`, with jitter, until `patience_s` have passed in all.

    Only what cannot have changed anything is retried: connection errors, 429 (after the time that the scorer
    names) and 503. Scoring has no side effects, so an answer lost on its way may be asked for again.
    """

    patience_s: float = 300.0
    first_wait_s: float = 0.25
    max_wait_s: float = 15.0

    def wait_s(self, error: IcmError, attempt: int, spent_s: float, rng: np.random.Generator) -> float | None:
        """Seconds to wait before attempt number `attempt` + 1 (counted from 1), or None to give up."""
        if isinstance(error, BusyError):
            base = error.retry_after_s
        elif isinstance(error, UnavailableError):
            base = min(self.first_wait_s * 2 ** min(attempt - 1, 16), self.max_wait_s)
        else:
            return None
        wait_s = base * (1.0 + 0.25 * float(rng.random()))
        return wait_s if spent_s + wait_s <= self.patience_s else None
