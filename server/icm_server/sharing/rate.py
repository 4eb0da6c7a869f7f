"""How fast work gets done, smoothed. A leaf: the clock is passed in."""

from __future__ import annotations

import math
from collections.abc import Callable

SMOOTHING_S = 20.0
"""Work done this long ago counts for 1/e of what is done now."""


class Rate:
    """Tokens a second, while there is work. Times without any do not count."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._since: float | None = None
        self._tokens = self._seconds = 0.0

    def begin(self) -> None:
        """There is work from now on."""
        if self._since is None:
            self._since = self._clock()

    def done(self, tokens: int) -> None:
        """So much of it is done; what is done while there is none does not count either."""
        self._pass()
        if self._since is not None:
            self._tokens += tokens

    def end(self) -> None:
        """There is none left."""
        self._pass()
        self._since = None

    def value(self) -> float | None:
        """Tokens a second; None as long as nothing is known."""
        self._pass()
        return self._tokens / self._seconds if self._tokens and self._seconds else None

    def _pass(self) -> None:
        if self._since is None:
            return
        now = self._clock()
        seconds, self._since = now - self._since, now
        fading = math.exp(-seconds / SMOOTHING_S)
        self._tokens *= fading
        self._seconds = self._seconds * fading + seconds
