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

    def __init__(self, policy: RetryPolicy, on_wait: OnWait | None = None, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self._policy, self._on_wait = policy, on_wait
        self._is_reached = False
        self._jitter = np.random.default_rng()  # spreads the retries of many clients; does not affect results

    def begin(self) -> Tries:
        """The attempts of one request."""
        return Tries(self._policy)

    def reached(self) -> None:
        """Something has answered: the address is no wrong one."""
        self._is_reached = True

    async def call(self, attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The first result of `attempt`. Raises the last error."""
        start_s, tries = self.clock(), self.begin()
        while True:
            try:
                answer = await attempt()
            except IcmError as error:
                await self.pause(tries, error, start_s)
            else:
                self.reached()
                return answer

    async def pause(self, tries: Tries, error: IcmError, start_s: float, deadline_s: float | None = None) -> None:
        """Waits until the next attempt, at most until `deadline_s` (of the clock). Raises the error if there is no next
        attempt."""
        now_s = self.clock()
        self._is_reached = self._is_reached or not is_unconnected(error)
        wait_s = tries.failed(error, now_s, self._jitter)
        is_wrong = not self._is_reached and now_s - start_s >= self._policy.unreachable_s
        if wait_s is None or (wait_s and is_wrong):
            raise error
        if self._on_wait and wait_s:
            self._on_wait(error.message, now_s - start_s)
        await asyncio.sleep(wait_s if deadline_s is None else min(wait_s, deadline_s - now_s))
