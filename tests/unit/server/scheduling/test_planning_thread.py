"""Planning for somebody who goes."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from icm_server.auth.tenant import ANYONE
from icm_server.scheduling.planning_thread import PlanningThread
from icm_server.sharing.steps import Steps


async def test_what_goes_wrong_once_nobody_waits_is_nobody_s_affair() -> None:
    """asyncio would log it, with all that the error quotes of the request."""
    begun, go_on = threading.Event(), threading.Event()

    def steps() -> Steps[None]:
        begun.set()
        go_on.wait()
        yield from ()
        raise ValueError("what was sent")

    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    planning = PlanningThread()
    place = planning.lock.place(ANYONE, 1)
    task = asyncio.create_task(planning.done(steps(), place))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    async with asyncio.timeout(30), planning.lock.holding(place):
        pass  # the next one's turn comes
    del task
    gc.collect()
    assert failures == []
    planning.close()
