"""What goes wrong around a scorer, made to happen to one that runs as a program, with whatever engine.

Every fault is a coroutine over a `Program`, and ends by asking what was answered before the fault: the answers are the
same, and nothing of what went wrong is left in the scorer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fake_clock import NOTICED_WITHIN_S, fake_clock

from icm_client import ScorerClient, ScoreRequest
from icm_client.contract.wire import STREAM_TYPE
from icm_client.http.retry import RetryPolicy

LIMIT_S = 300.0
TOLERANCE = 1e-3
"""Nats: what batching and cached prefixes change on a real engine."""


class Program:
    """`icm-server serve` with a reuse file, and no other memory of finished reads; `start` it again after its end."""

    def __init__(self, folder: Path, *arguments: str, api_key: str | None = None):
        """`api_key` is used for all that is asked of it."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url, self._api_key = f"http://127.0.0.1:{port}", api_key
        self.read_cache_file, self.log = folder / "read_cache.sqlite", folder / "log"
        self._ready = folder / "ready.json"
        self._command = [sys.executable, "-m", "icm_server.cli.app", "serve", "--port", str(port), *arguments]
        self._command += ["--ready-file", str(self._ready), "--read-cache-memory-mb", "0"]
        self._command += ["--read-cache-file", str(self.read_cache_file)]
        self.clock = fake_clock(folder)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        environment = {**os.environ, **(self.clock.environment if self.clock else {})}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=log, env=environment)
        end = time.monotonic() + LIMIT_S
        while not self._ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        """Returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(LIMIT_S)

    def kill(self) -> None:
        """Does nothing if it has ended."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def overview(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        async with httpx.AsyncClient(base_url=self.url, timeout=LIMIT_S, headers=headers) as http:
            return dict((await http.get("/v1/experiments")).json())

    async def once(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Waits until it holds of the overview."""
        async with asyncio.timeout(LIMIT_S):
            while not condition(await self.overview()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def score(self, request: ScoreRequest) -> list[list[float]]:
        async with ScorerClient(self.url, api_key=self._api_key) as client:
            return (await client.score(request)).logprobs


def some(seed: int, num_prompts: int = 20) -> ScoreRequest:
    """Prompts that no other seed has."""
    rng = random.Random(seed)
    context = "".join(f"Word: {seed} {rng.randrange(100)}\nGroup: living\n\n" for _ in range(8))
    prompts = [f"{context}Word: {rng.randrange(10**6)} {number}\nGroup:" for number in range(num_prompts)]
    return ScoreRequest(prompts=prompts, labels=[" living", " object"], experiment=f"e{seed}")


LONG = 1500
"""Prompts that keep an engine for seconds."""


def check_same(found: list[list[float]], expected: list[list[float]]) -> None:
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        assert max(abs(a - b) for a, b in zip(row, other, strict=True)) < TOLERANCE


def is_at_work(overview: dict[str, Any]) -> bool:
    return bool(overview["all"]["waiting"]["tokens"])


def is_idle(overview: dict[str, Any]) -> bool:
    return not overview["all"]["waiting"]["requests"] and not overview["engine"]["reads"]


async def killed_client(program: Program) -> None:
    """What it asked is given up, also in the engine."""
    request = some(1, LONG)
    code = "import sys; from icm_client import *; c = SyncScorerClient(sys.argv[1])"
    code += "; c.score(ScoreRequest.model_validate_json(sys.stdin.read()))"
    command = [sys.executable, "-c", code, program.url]
    client = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert client.stdin is not None
    client.stdin.write(request.model_dump_json().encode())
    client.stdin.close()
    await program.once(is_at_work)
    client.kill()
    await client.wait()
    await program.once(is_idle)
    overview = await program.overview()
    assert overview["all"]["requests"]["cancelled"] == 1
    assert _reads(overview, "e1") < LONG


async def slow_reader(program: Program) -> None:
    """One that reads nothing of a large answer keeps nobody waiting, and finds all of it later."""
    request = ScoreRequest(prompts=["Word: eel\nGroup:"] * 16_000, labels=[f" {k} a" for k in range(32)])
    body = request.body()
    # The answer has about 10 MB, so it must not fit what the kernel would hold of it for its reader.
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        narrow.connect(_place(program))
        reader, writer = await asyncio.open_connection(sock=narrow.dup(), limit=2**16)
    writer.write(_head(len(body), Accept=STREAM_TYPE) + body)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    for seed in range(2, 5):
        assert len(await program.score(some(seed))) == 20
    await program.once(lambda overview: overview["all"]["waiting"]["requests"] == 1)  # those three have ended
    answer = await asyncio.wait_for(reader.read(), LIMIT_S)
    writer.close()
    lines = [json.loads(line) for line in answer.splitlines() if line.startswith(b"{")]
    numbers = [number for line in lines for number in line.get("prompts", ())]
    assert sorted(numbers) == list(range(len(request.prompts)))
    await program.once(is_idle)


async def half_sent_body(program: Program) -> None:
    """Callers that stop in the middle of their request, by falling silent or by going away."""
    silent = [await asyncio.open_connection(*_place(program)) for _ in range(20)]
    for _, writer in silent:
        writer.write(_head(10_000) + b'{"prompts": ["' + b"x" * 5000)
        await writer.drain()
    assert len(await program.score(some(5))) == 20
    for _, writer in silent:
        writer.transport.abort()
    await program.once(is_idle)


async def damaged_file(program: Program) -> None:
    """Of the file's answers none is believed that is not whole: the file is moved aside, and all is computed again."""
    request = some(6)
    right = await program.score(request)
    await _stored(program, 20)
    for place in (program.read_cache_file, Path(f"{program.read_cache_file}-wal")):
        with place.open("r+b") as file:
            length = place.stat().st_size
            file.seek(0)
            file.write(random.Random(0).randbytes(length))
    check_same(await program.score(request), right)
    check_same(await program.score(some(7)), await program.score(some(7)))


async def full_disk(program: Program) -> None:
    """Nothing is kept any more, and everything answered."""
    request = some(8, 400)
    before = resource.prlimit(program.pid, resource.RLIMIT_FSIZE)
    most = program.log.stat().st_size + 2**15  # of any file of its: the log is one as well
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        right = await program.score(request)
        await asyncio.sleep(1.5)  # it writes every half second
        check_same(await program.score(request), right)
    finally:
        resource.prlimit(program.pid, resource.RLIMIT_FSIZE, before)
    assert "cannot be used now" in program.log.read_text()


async def killed_scorer(program: Program) -> None:
    """A client waits for it and asks only what it has not got; what was stored is not computed again."""
    request, stored = some(9, LONG), some(10)
    right = await program.score(stored)
    await _stored(program, 20)
    async with ScorerClient(program.url, retry=RetryPolicy(max_wait_s=0.5)) as client:
        asking = asyncio.create_task(client.score(request))
        await program.once(lambda overview: _reads(overview, "e9") > LONG // 5)
        program.kill()
        await asyncio.to_thread(program.start)
        answer = await asyncio.wait_for(asking, LIMIT_S)
    check_same(await program.score(stored), right)
    overview = await program.overview()
    assert _reads(overview, "e10") == 0
    assert 0 < _reads(overview, "e9") < LONG
    check_same(answer.logprobs, await program.score(request))


async def clock_jump(program: Program) -> None:
    """A month back or forth in the middle of a request: it is answered, in the time that it takes, and so are others
    with a deadline; what is shown of the last minutes stays sensible, and what was stored is still there."""
    if program.clock is None:
        pytest.skip("libfaketime is not installed")
    stored = some(12)
    right = await program.score(stored)
    await _stored(program, 20)
    for seed, offset in ((13, "-30d"), (14, "+30d"), (15, "+0")):
        async with ScorerClient(program.url) as client:
            asking = asyncio.create_task(client.score(some(seed, LONG)))
            await program.once(is_at_work)
            program.clock.jump(offset)
            await asyncio.sleep(NOTICED_WITHIN_S + 0.5)
            soon = some(seed + 10).model_copy(update={"deadline_s": LIMIT_S})
            assert len((await client.score(soon)).logprobs) == 20
            answer = await asyncio.wait_for(asking, LIMIT_S)
        assert len(answer.logprobs) == LONG
        *_, last = (line["seconds"] for line in _logged(program) if "seconds" in line)
        assert 0 <= last < LIMIT_S
        overview = await program.overview()
        assert 0 < overview["window_s"] < LIMIT_S
        assert all(0 <= row["seen_s"] < LIMIT_S for row in overview["experiments"])
    check_same(await program.score(stored), right)
    assert _days(program) >= {-30, 0, 30}  # it did jump


FAULTS: list[Callable[[Program], Awaitable[None]]] = [
    killed_client,
    slow_reader,
    half_sent_body,
    damaged_file,
    full_disk,
    clock_jump,
    killed_scorer,
]


async def check(program: Program, fault: Callable[[Program], Awaitable[None]]) -> None:
    """Makes the fault happen: what was answered before is answered after it, by the same process unless that died."""
    right = await program.score(some(0))
    await fault(program)
    check_same(await program.score(some(0)), right)
    assert program.process is not None
    assert program.process.poll() is None
    assert "Traceback" not in program.log.read_text()


def _reads(overview: dict[str, Any], experiment: str) -> int:
    """Made for it since the scorer was started."""
    return sum(row["total"]["reads"] for row in overview["experiments"] if row["experiment"] == experiment)


def _logged(program: Program) -> list[dict[str, Any]]:
    return [json.loads(line) for line in program.log.read_text().splitlines() if line.startswith("{")]


def _days(program: Program) -> set[int]:
    """By how much the times in the log are off."""
    now = datetime.now(UTC)
    return {round((datetime.fromisoformat(line["time"]) - now).total_seconds() / 86_400) for line in _logged(program)}


async def _stored(program: Program, num: int) -> None:
    """Waits until the last answers are in the file."""
    async with asyncio.timeout(LIMIT_S):
        before = -1
        while True:
            await asyncio.sleep(0.7)  # it writes every half second
            with contextlib.closing(sqlite3.connect(f"file:{program.read_cache_file}?mode=ro", uri=True)) as database:
                (now,) = database.execute("SELECT count(*) FROM answers").fetchone()
            if now == before and now >= num:
                return
            before = now


def _place(program: Program) -> tuple[str, int]:
    host, _, port = program.url.removeprefix("http://").partition(":")
    return host, int(port)


def _head(length: int, **headers: str) -> bytes:
    lines = ["POST /v1/score HTTP/1.1", "Host: scorer", "Connection: close", f"Content-Length: {length}"]
    lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
