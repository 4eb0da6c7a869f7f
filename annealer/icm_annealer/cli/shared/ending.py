"""An orderly end on SIGTERM, SIGHUP and SIGQUIT: temporary folders and started processes are removed. A leaf."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name))


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Makes these signals raise SystemExit(128 + number) in the main thread, where it must be entered.

    A signal that is ignored, as under `nohup`, stays ignored.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handled(end):
        yield


def run_to_end(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """`asyncio.run` whose work these signals cancel; once it has cleaned up, raises SystemExit(128 + number)."""
    came: list[int] = []

    async def watched() -> _Answer:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int, _: FrameType | None) -> None:
            came.append(number)
            loop.call_soon_threadsafe(task.cancel)

        with _handled(end):
            return await work

    try:
        return asyncio.run(watched())
    finally:
        if came:  # even if cleaning up raised, as writing to a closed terminal does
            raise SystemExit(128 + came[0])


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler that Python did not install (None) could not be restored.
    before = {number: old for number in SIGNALS if (old := signal.getsignal(number)) not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
