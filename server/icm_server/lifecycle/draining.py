"""Graceful shutdown: running requests may finish, within a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from icm_server.lifecycle.scorer_state import ScorerState
from icm_server.logs import event

log = logging.getLogger("icm_server")

LOOK_EVERY_S = 0.05


class Draining:
    """Call `signalled` at every signal; it calls `stop` once, when it is time to exit."""

    def __init__(self, state: ScorerState, limit_s: float, stop: Callable[[], None]):
        self._state, self._limit_s, self._stop = state, limit_s, stop
        self._task: asyncio.Task[None] | None = None

    def signalled(self) -> None:
        """The first signal starts a graceful shutdown, the second one stops at once. Call it in the event loop."""
        if self._task is None:
            self._state.is_draining = True
            self._task = asyncio.create_task(self._drain())
        else:
            self._task.cancel()
            event(log, "stopping now", cancelled=self._state.num_under_way)
            self._stop()

    async def _drain(self) -> None:
        if self._state.num_under_way:
            limit_s = self._limit_s
            event(log, "draining; signal again to stop now", requests=self._state.num_under_way, limit_s=limit_s)
            try:
                async with asyncio.timeout(limit_s):
                    while self._state.num_under_way:  # noqa: ASYNC110  (requests end in many places)
                        await asyncio.sleep(LOOK_EVERY_S)
            except TimeoutError:
                pass
        event(log, "stopping", cancelled=self._state.num_under_way)
        self._stop()
