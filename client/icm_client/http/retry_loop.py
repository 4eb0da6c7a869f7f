"""Repeats attempts until one succeeds: the decisions of `retry`, with a clock, jitter and pauses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np

from icm_client.contract.errors import IcmError
from icm_client.http.retry import RetryPolicy, Tries, is_unconnected

_Answer = TypeVar("_Answer")
OnWait = Callable[[str, float], None]


class RetryLoop:
    """Repeats requests as `policy` says. `on_wait(reason, seconds_waited)` is called before each pause."""

    def __init__(self, policy: RetryPolicy, on_wait: OnWait | None = None):
        self._policy, self._on_wait = policy, on_wait
        self._is_reached = False
        self._jitter = np.random.default_rng()  # spreads the retries of many clients; does not affect results

    def begin(self) -> Tries:
        """The attempts of one request, counted from now."""
        return Tries(self._policy, time.monotonic())

    async def call(self, attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The first result of `attempt`. The limits are counted from the first failure. Raises the last error."""
        start_s, tries = time.monotonic(), None
        while True:
            try:
                answer = await attempt()
                self._is_reached = True
                return answer
            except IcmError as error:
                tries = tries or self.begin()  # until now the other side was reachable, however long it took
                await self.pause(tries, error, start_s)

    async def pause(self, tries: Tries, error: IcmError, start_s: float, deadline_s: float | None = None) -> None:
        """Waits until the next attempt, at most until `deadline_s` (of time.monotonic). Raises the error if there is no
        next attempt."""
        now_s = time.monotonic()
        self._is_reached = self._is_reached or not is_unconnected(error)
        if not self._is_reached and now_s - start_s >= self._policy.unreachable_s:
            raise error
        wait_s = tries.failed(error, now_s, self._jitter)
        if wait_s is None:
            raise error
        if self._on_wait:
            self._on_wait(error.message, now_s - start_s)
        await asyncio.sleep(wait_s if deadline_s is None else min(wait_s, deadline_s - now_s))
