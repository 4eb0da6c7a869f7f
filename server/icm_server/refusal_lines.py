"""How many of the log's lines tell of refusals: who can be refused at no cost must not fill a disk. Pure; a leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

MOST_LINES = 10
"""Of one kind, in one second."""

Kind = tuple[object, ...]


class RefusalLines:
    """Lines are shown until a second has too many of their kind; the others are counted. `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float]):
        self._clock, self._since = clock, clock()
        self._seen: Counter[Kind] = Counter()

    def shows(self, kind: Kind) -> bool:
        """Whether one more line of the kind is shown. Ask for `left_out` before."""
        self._seen[kind] += 1
        return self._seen[kind] <= MOST_LINES

    def left_out(self, *, at_end: bool = False) -> dict[Kind, int]:
        """How many were not shown, once their second is over (or `at_end`); each is told once."""
        now = self._clock()
        if now - self._since < 1.0 and not at_end:
            return {}
        left_out = {kind: num - MOST_LINES for kind, num in self._seen.items() if num > MOST_LINES}
        self._since = now
        self._seen.clear()
        return left_out
