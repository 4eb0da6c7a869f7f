"""Runs a request's work, and cancels it when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from icm_client.contract.errors import UnavailableError

_Answer = TypeVar("_Answer")


class CallerGoneError(Exception):
    """The client has disconnected."""


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """The work's result. The work is cancelled when the client disconnects or the scorer stops; then raises
    CallerGoneError or UnavailableError. The request's body has to be read before."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    stopping = asyncio.create_task(request.app.state.scoring.stopping.wait())
    try:
        await asyncio.wait({task, gone, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise CallerGoneError
        raise UnavailableError("the scorer is being stopped", code="cancelled")
    finally:
        for each in (task, gone, stopping):
            each.cancel()
        await asyncio.gather(task, gone, stopping, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
