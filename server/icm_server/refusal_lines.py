"""Limits the log lines about rejected requests: clients that cost nothing to reject must not fill a disk. Pure; a
leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

MOST_LINES = 10
"""The most lines of one kind in one second."""

Kind = tuple[object, ...]


class RefusalLines:
    """Allows lines until a second has too many of their kind, and counts the others. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._since = clock, clock()
        self._seen: Counter[Kind] = Counter()

    def shows(self, kind: Kind) -> bool:
        """Whether to log one more line of the kind. Call `left_out` first."""
        self._seen[kind] += 1
        return self._seen[kind] <= MOST_LINES

    def left_out(self, *, at_end: bool = False) -> dict[Kind, int]:
        """How many lines of each kind were dropped, once their second is over (or `at_end`). Each is reported once."""
        now = self._clock()
        if now - self._since < 1.0 and not at_end:
            return {}
        left_out = {kind: num - MOST_LINES for kind, num in self._seen.items() if num > MOST_LINES}
        self._since = now
        self._seen.clear()
        return left_out
