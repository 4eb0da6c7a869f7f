"""Clean exit: signals, a parent process that is gone, and child processes of an engine."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end a process besides Ctrl-C. Ignored ones stay ignored: under `nohup`, closing the terminal ends
nothing."""
PARENT_CHECK_S = 0.5
GRACE_S = 15.0
"""How long a graceful shutdown may take before it is forced."""
GUARD_EVERY_S = 2.0


def on_signal(stop: Callable[[], None]) -> None:
    """Calls `stop` in the running loop at SIGINT and each of SIGNALS."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, *SIGNALS):
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop)


def exit_on_signal() -> None:
    """From now on SIGNALS raise SystemExit(128 + number) in the main thread, so that cleanup code runs."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def follow_parent() -> None:
    """Exits when the parent process is gone, however it ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        end_children()
        os._exit(1)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()


def end_children() -> None:
    """Ends this process's remaining child processes: SIGTERM first, then SIGKILL."""
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    deadline = time.monotonic() + GRACE_S / 2
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))
        if child.is_alive():
            child.kill()


def guard_children(every_s: float = GUARD_EVERY_S) -> None:
    """Starts a small process that ends this process's children if this process is killed (Linux).

    An engine does not notice that its parent was killed, and would keep its memory for ever. Call this early, while the
    process is small and has one thread. New children are looked up every `every_s` seconds.
    """
    guarded = os.getpid()
    if not Path(f"/proc/{guarded}/task/{guarded}/children").exists():
        return
    alive, held = os.pipe()  # `held` is closed when this process ends, however it ends
    if os.fork() != 0:
        os.close(alive)
        return
    os.close(held)
    for number in (signal.SIGINT, *SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    children: dict[int, str] = {}
    while not select.select([alive], [], [], every_s)[0]:
        children = {pid: _started(pid) for pid in children_of(guarded) if pid != os.getpid()} or children
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, started in children.items():
            if started and _started(pid) == started:  # otherwise the id belongs to another process by now
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        time.sleep(every_s)
    os._exit(0)


def children_of(pid: int) -> list[int]:
    """The live child processes that any thread of `pid` started."""
    found: list[int] = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found += map(int, place.read_text().split())
    return found


def _started(pid: int) -> str:
    """When process `pid` was started, in ticks since boot; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
