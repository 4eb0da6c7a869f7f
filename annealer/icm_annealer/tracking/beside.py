"""Runs a tracker's process beside a run. It never stops the run, and delays its end only for a limited time."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator

from icm_annealer.runs.directory import TRACKING_LOG, RunDir
from icm_annealer.tracking.target import Target

END_LIMIT_S = 60.0
"""How long a tracker may take to show the end of a run that is over."""


@contextlib.contextmanager
def tracked(
    folder: RunDir, target: Target | None, on_failure: Callable[[str], None], end_limit_s: float = END_LIMIT_S
) -> Iterator[None]:
    """Has the run in `folder` shown while the context lasts, if there is a target.

    What the tracker prints goes to `tracking.log`. If it fails, or is not done in time, `on_failure` gets a
    message.
    """
    if target is None:
        yield
        return
    command = [sys.executable, "-m", "icm_annealer.tracking.process", str(folder.path), str(target)]
    with (folder / TRACKING_LOG).open("wb") as log:
        # A separate session, so that Ctrl-C stops only the run, and the tracker still receives its end.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    assert process.stdin is not None
    try:
        yield
    finally:
        process.stdin.close()
        if failure := _ended(process, end_limit_s):
            on_failure(f"{target.kind} does not show all of this run ({failure}); see {folder / TRACKING_LOG}")


@contextlib.asynccontextmanager
async def tracked_in_loop(
    folder: RunDir, target: Target | None, on_failure: Callable[[str], None]
) -> AsyncIterator[None]:
    """`tracked` for code with an event loop, which goes on while the tracker shows the end."""
    with contextlib.ExitStack() as started:
        started.enter_context(tracked(folder, target, on_failure))
        end = started.pop_all().close
    try:
        yield
    finally:
        await asyncio.to_thread(end)


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> str | None:
    """What went wrong, None if nothing did."""
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"it was not done {limit_s:.0f} s after the run's end"
    return f"it ended with code {code}" if code else None
