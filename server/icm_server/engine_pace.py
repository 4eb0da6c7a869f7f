"""How much is kept in the engine at once: as much as keeps it busy, and no more than makes others wait long.

What has been handed to the engine goes before whatever comes later, for two of its steps: the one under way and the
next, which it has already put together. So a step is to take a time that can be waited for, which is far fewer tokens
on a slow engine than on a fast one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from icm_server.rate import Rate

STEP_S = 0.25
"""What a step may take while one experiment has work."""
SHARED_STEP_S = 0.1
"""The same while several have."""
SMALL_STEP_S = 0.03
"""The same while somebody beside them asks for little now and then, to whom waiting is most of an answer's time."""
SMALL_FOR_S = 10.0
"""So long after a small request, another one is expected."""
MIN_STEP_TOKENS = 512
"""With fewer, what every step costs by itself begins to count."""


class EnginePace:
    """How fast the engine is where it has all that it takes, and how many tokens it is to be given by that."""

    def __init__(self, max_tokens: int, clock: Callable[[], float]):
        self._max_tokens, self._clock, self._rate = max_tokens, clock, Rate(clock)
        self._small_until = -math.inf

    def max_tokens(self, num_experiments: int) -> int:
        """Tokens to compute that may be in the engine while so many experiments have work."""
        rate = self._rate.value()
        if rate is None:
            return self._max_tokens
        step_s = STEP_S
        if num_experiments > 1:
            step_s = SMALL_STEP_S if self._clock() < self._small_until else SHARED_STEP_S
        return min(self._max_tokens, int(2 * max(MIN_STEP_TOKENS, rate * step_s)))

    def small_came(self) -> None:
        """Somebody came who had saved up for what is asked."""
        self._small_until = self._clock() + SMALL_FOR_S

    def done(self, tokens: int) -> None:
        """The engine has computed so many tokens."""
        self._rate.done(tokens)

    def filled(self, is_full: bool) -> None:
        """Whether the engine has all that it takes from now on; its pace counts only while it has."""
        if is_full:
            self._rate.begin()
        else:
            self._rate.end()
