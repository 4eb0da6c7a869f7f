"""The thread in which requests are parsed, tokenized and planned: a slice of one's work at a time, in turns.

What is remembered of texts has no lock, so there is one thread; and who has gone, or is too late, stops after a slice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from icm_server.sharing.fair_lock import FairLock, Place
from icm_server.sharing.steps import Steps

_Result = TypeVar("_Result")

SLICE_S = 0.02
"""How long a turn is, give or take the last of its steps."""


class _Ended(NamedTuple, Generic[_Result]):
    result: _Result


class PlanningThread:
    """Use it in one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.lock = FairLock(clock)
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "planning")

    async def done(self, work: Steps[_Result], place: Place) -> _Result:
        """The work's result, its steps taken as turns come. Raises what they raise; may be cancelled."""
        await self.lock.acquire(place)
        while (ended := await self._turn(work)) is None:
            await self.lock.reacquire(place)
        self.lock.release()
        return ended.result

    async def _turn(self, work: Steps[_Result]) -> _Ended[_Result] | None:
        """A slice of it, or its end. The turn is passed on if it fails or is given up."""
        try:
            part = asyncio.get_running_loop().run_in_executor(self._thread, self._slice, work)
            return await asyncio.shield(part)
        except asyncio.CancelledError:
            part.add_done_callback(self._left)
            raise
        except BaseException:
            self.lock.release()
            raise

    def _left(self, part: asyncio.Future[_Ended[_Result] | None]) -> None:
        """A slice for which nobody waits has ended: until then the thread was not free, and its time is the key's."""
        if not part.cancelled():
            part.exception()  # else asyncio would log it, and what it quotes of a request
        self.lock.release()

    def close(self) -> None:
        """What is under way ends after its slice."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _slice(self, work: Steps[_Result]) -> _Ended[_Result] | None:
        """Some steps; None if there are more."""
        until = self._clock() + SLICE_S
        try:
            while self._clock() < until:
                next(work)
        except StopIteration as end:
            return _Ended(end.value)
        return None
