"""Smoothed throughput. A leaf: the clock is passed in."""

from __future__ import annotations

import math
from collections.abc import Callable

SMOOTHING_S = 20.0
"""The decay time: work done this long ago has 1/e of the weight of current work."""


class Rate:
    """Tokens per second while there is work; idle time does not count."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._since: float | None = None
        self._tokens = self._seconds = 0.0

    def begin(self) -> None:
        """Work begins."""
        if self._since is None:
            self._since = self._clock()

    def done(self, tokens: int) -> None:
        """Records this much work as done. It does not count while there is no work."""
        self._pass()
        if self._since is not None:
            self._tokens += tokens

    def end(self) -> None:
        """All work is done."""
        self._pass()
        self._since = None

    def value(self) -> float | None:
        """Tokens per second; None before anything was measured."""
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
