"""The limit on tokens in the engine: all that it can hold for one experiment, less while several share it.

A read that has been handed to the engine is computed before or together with any later read: in the current step, and
in the next one, which a GPU engine has already prepared. While several experiments share the engine, it therefore holds
two steps of a bounded duration. On a slow engine these have fewer tokens than on a fast one. Each step has a fixed
cost, so there is also a minimum number of tokens, for which a slow engine takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from icm_server.sharing.rate import Rate


class Step(NamedTuple):
    """The limits of one engine step: a duration, and a number of tokens that is allowed even if it takes longer."""

    seconds: float
    min_tokens: int


SHARED_STEP = Step(0.1, 2048)
"""While several experiments have work."""
SMALL_STEP = Step(0.03, 512)
"""While one of them sends small requests now and then: their latency is mostly queueing time."""
EXPECTED_S = 10.0
"""After a small request arrives while others have work, another one is expected for this long."""


class InflightLimit:
    """Measures the engine's throughput under full load and derives the limit from it."""

    def __init__(self, max_tokens: int, clock: Callable[[], float], num_engines: int = 1):
        """`max_tokens` are those of all engines together."""
        self._max_tokens, self._clock, self._rate = max_tokens, clock, Rate(clock)
        self._num_engines = num_engines
        self._shared_until = self._small_until = -math.inf

    def max_tokens(self, *, is_shared: bool) -> int:
        """The most tokens to compute that may be in the engine. `is_shared`: several experiments have queued work."""
        now, rate = self._clock(), self._rate.value()
        if rate is None or not (is_shared or now < self._shared_until):
            return self._max_tokens
        step = SMALL_STEP if now < self._small_until else SHARED_STEP
        return min(self._max_tokens, int(2 * max(self._num_engines * step.min_tokens, step.seconds * rate)))

    def others_wait(self, *, is_small: bool) -> None:
        """Records a request that arrived while other experiments had work. `is_small`: its experiment had saved up for
        it."""
        self._shared_until = self._clock() + EXPECTED_S
        if is_small:
            self._small_until = self._shared_until

    def done(self, tokens: int) -> None:
        """Records that the engine has computed this many tokens."""
        self._rate.done(tokens)

    def filled(self, is_full: bool) -> None:
        """Records whether the engine is full from now on. Throughput is measured only while it is."""
        if is_full:
            self._rate.begin()
        else:
            self._rate.end()
