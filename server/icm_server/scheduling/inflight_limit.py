"""How much is kept in the engine at once: all that it takes for one experiment, less where others wait for their turn.

What has been handed to the engine is computed before or beside whatever comes later: the step under way, and the next,
which on a GPU it has already put together. So where several share it, what it has is two steps of a time that can be
waited for, which is fewer tokens on a slow engine than on a fast one. But every step has its price, so there are fewest
tokens, and a slow engine takes seconds for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from icm_server.sharing.rate import Rate


class Step(NamedTuple):
    """What a step of the engine may take: so long, but so many tokens in any case."""

    seconds: float
    min_tokens: int


SHARED_STEP = Step(0.1, 2048)
"""While several experiments have work."""
SMALL_STEP = Step(0.03, 512)
"""While one of them asks for little now and then, to whom waiting is most of an answer's time."""
EXPECTED_S = 10.0
"""So long after a request that came beside others', the next such one is expected."""


class InflightLimit:
    """How fast the engine is where it has all that it is given, and how many tokens that is to be."""

    def __init__(self, max_tokens: int, clock: Callable[[], float]):
        self._max_tokens, self._clock, self._rate = max_tokens, clock, Rate(clock)
        self._shared_until = self._small_until = -math.inf

    def max_tokens(self, *, is_shared: bool) -> int:
        """Tokens to compute that may be in the engine; `is_shared`: several experiments have work that waits."""
        now, rate = self._clock(), self._rate.value()
        if rate is None or not (is_shared or now < self._shared_until):
            return self._max_tokens
        step = SMALL_STEP if now < self._small_until else SHARED_STEP
        return min(self._max_tokens, int(2 * max(step.min_tokens, step.seconds * rate)))

    def others_wait(self, *, is_small: bool) -> None:
        """A request came while other experiments have some; a small one, if it was saved up for."""
        self._shared_until = self._clock() + EXPECTED_S
        if is_small:
            self._small_until = self._shared_until

    def done(self, tokens: int) -> None:
        """The engine has computed so many tokens."""
        self._rate.done(tokens)

    def filled(self, is_full: bool) -> None:
        """Whether the engine has all that it is given from now on; its pace counts only while it has."""
        if is_full:
            self._rate.begin()
        else:
            self._rate.end()
