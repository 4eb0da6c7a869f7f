"""When a member that has ended is started again. Pure but for its clock."""

from __future__ import annotations

from collections.abc import Callable

STEADY_S = 60.0
"""A member that ran for so long ends for a new reason."""
MAX_WAIT_S = 60.0


class Backoff:
    """At once the first time, then after 1, 2, 4, ... seconds while it keeps failing."""

    def __init__(self, clock: Callable[[], float]):
        """The member has just started."""
        self._clock, self._started_at = clock, clock()
        self.num_failures = 0
        """Ends and failed starts in succession."""

    @property
    def wait_s(self) -> float:
        """How long to wait before the next start."""
        return 0.0 if self.num_failures <= 1 else min(MAX_WAIT_S, 2.0 ** (self.num_failures - 2))

    def started(self) -> None:
        self._started_at = self._clock()

    def ended(self) -> None:
        """Records that the running member has ended."""
        if self._clock() - self._started_at >= STEADY_S:
            self.num_failures = 0
        self.num_failures += 1

    def failed(self) -> None:
        """Records that a start has failed."""
        self.num_failures += 1
