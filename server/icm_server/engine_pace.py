"""How much is kept in the engine at once: all that it takes for one experiment, less where others wait for their turn.

What has been handed to the engine goes before whatever comes later, for two of its steps: the one under way and the
next, which it has already put together. So where several share it, a step is to take a time that can be waited for,
which is far fewer tokens on a slow engine than on a fast one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from icm_server.rate import Rate


class Step(NamedTuple):
    """What a step of the engine may take: so long, but so many tokens in any case, since every step has its price."""

    seconds: float
    min_tokens: int


SHARED_STEP = Step(0.1, 2048)
"""While several experiments have work."""
SMALL_STEP = Step(0.03, 512)
"""While somebody beside them asks for little now and then, to whom waiting is most of an answer's time."""
SMALL_FOR_S = 10.0
"""So long after a small request, another one is expected."""


class EnginePace:
    """How fast the engine is where it has all that it is given, and how many tokens that is to be."""

    def __init__(self, max_tokens: int, clock: Callable[[], float]):
        self._max_tokens, self._clock, self._rate = max_tokens, clock, Rate(clock)
        self._small_until = -math.inf

    def max_tokens(self, num_experiments: int) -> int:
        """Tokens to compute that may be in the engine while so many experiments have work."""
        rate = self._rate.value()
        if num_experiments < 2 or rate is None:
            return self._max_tokens
        step = SMALL_STEP if self._clock() < self._small_until else SHARED_STEP
        return min(self._max_tokens, int(2 * max(step.min_tokens, step.seconds * rate)))

    def small_came(self) -> None:
        """Somebody came who had saved up for what is asked."""
        self._small_until = self._clock() + SMALL_FOR_S

    def done(self, tokens: int) -> None:
        """The engine has computed so many tokens."""
        self._rate.done(tokens)

    def filled(self, is_full: bool) -> None:
        """Whether the engine has all that it is given from now on; its pace counts only while it has."""
        if is_full:
            self._rate.begin()
        else:
            self._rate.end()
