"""The thread that parses, tokenizes and plans requests, in time slices that tenants share fairly.

There is one thread because the caches of tokenized texts have no locks. A cancelled or late request stops after the
current slice.
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
"""The length of a time slice; the last step in it may exceed this."""


class _Ended(NamedTuple, Generic[_Result]):
    result: _Result


class PlanningThread:
    """Use it in one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.lock = FairLock(clock)
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "planning")

    async def done(self, work: Steps[_Result], place: Place) -> _Result:
        """Runs the steps in time slices and returns their result. Raises what they raise. May be cancelled."""
        await self.lock.acquire(place)
        while (ended := await self._turn(work)) is None:
            await self.lock.reacquire(place)
        self.lock.release()
        return ended.result

    async def _turn(self, work: Steps[_Result]) -> _Ended[_Result] | None:
        """Runs one slice; None if there is more to do. Releases the lock if the slice fails or is cancelled."""
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
        """Ends a slice whose request was cancelled. The thread was busy until now, so the tenant is charged for this
        time."""
        if not part.cancelled():
            part.exception()  # otherwise asyncio would log it, with what it quotes of a request
        self.lock.release()

    def close(self) -> None:
        """Closes the thread after the current slice."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _slice(self, work: Steps[_Result]) -> _Ended[_Result] | None:
        """Runs steps for one slice; None if there are more."""
        until = self._clock() + SLICE_S
        try:
            while self._clock() < until:
                next(work)
        except StopIteration as end:
            return _Ended(end.value)
        return None
