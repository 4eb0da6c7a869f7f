"""Runs a coroutine from synchronous code, whether or not an event loop is already running. A leaf."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


def run_blocking(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Runs `work` in a new event loop and returns its result. If this thread already has a running loop, as in a
    notebook, a second thread is used. Ctrl-C cancels the work, waits until it has cleaned up, and raises
    KeyboardInterrupt.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _run_in_thread(work)


def _run_in_thread(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
    answer: Future[_Answer] = Future()

    async def watched() -> _Answer:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await work

    def run() -> None:
        try:
            answer.set_result(asyncio.run(watched()))
        except BaseException as error:  # raised again in the calling thread
            answer.set_exception(error)

    thread = threading.Thread(target=run, name="icm-label", daemon=True)
    thread.start()
    try:
        return answer.result()
    except KeyboardInterrupt:
        loop, task = started.result()
        if not answer.done():
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
