"""Runs an `icm-server` process for the duration of a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from icm_annealer.scoring.scorer_folder import scorer_folder
from icm_client.contract.errors import UnavailableError

START_LIMIT_S = 900.0
"""The time limit for starting; loading weights from a slow disk takes minutes."""


@contextlib.asynccontextmanager
async def local_scorer(
    model: str,
    on_wait: Callable[[str, float], None],
    *,
    engine: str = "vllm",
    server_args: tuple[str, ...] = (),
    log: Path | None = None,
) -> AsyncIterator[str]:
    """Starts a scorer, and yields its URL once it is ready. Until then, `on_wait(what, seconds)` is called twice a
    second.

    Raises UnavailableError with the scorer's last output lines if it exits or is not ready in time.
    """
    with scorer_folder() as folder:
        ready, output = folder / "ready.json", log or folder / "scorer.log"
        command = [sys.executable, "-m", "icm_server.cli.app", "serve", "--model", model, "--engine", engine]
        command += ["--port", "0", "--ready-file", str(ready), "--exit-with-parent"]
        command += ["--log-format", "text", *server_args]
        with output.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file
            )
        try:
            what = "starting the scorer" + (f"; its log: {log}" if log else "")
            yield await _wait(process, ready, output, lambda seconds: on_wait(what, seconds))
        finally:
            await _stop(process)


async def _wait(
    process: asyncio.subprocess.Process, ready: Path, output: Path, on_wait: Callable[[float], None]
) -> str:
    start = time.monotonic()
    while True:
        if ready.exists():
            return str(json.loads(ready.read_text())["url"])
        seconds = time.monotonic() - start
        if process.returncode is not None or seconds > START_LIMIT_S:
            lines = [line.strip() for line in output.read_text(errors="replace").splitlines() if line.strip()]
            raise UnavailableError(
                "the scorer did not start: " + (" | ".join(lines[-3:]) or "it printed nothing"), code="scorer_start"
            )
        on_wait(seconds)
        await asyncio.sleep(0.5)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Sends SIGTERM, then SIGKILL after a grace period or if this task is cancelled."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
