"""`icm-server serve --engines 2`: what an operator and a client see of engines that come and go."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.faults import LIMIT_S, Program, some

from icm_server.lifecycle.stopping import children_of

pytestmark = pytest.mark.slow


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    slow = ("--engine-arg", "delay_s=0.5", "--engine-arg", "max_concurrent_reads=32")
    program = Program(tmp_path, "--engine", "fake", "--engines", "2", *slow)
    program.start()
    yield program
    program.kill()


def is_member(pid: int) -> bool:
    """Whether it is the process of an engine."""
    try:
        return b"icm_server.pool.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def members_of(pid: int) -> set[int]:
    return set(filter(is_member, children_of(pid)))


def until_gone(pids: set[int]) -> None:
    end = time.monotonic() + LIMIT_S
    while any(map(is_member, pids)):
        assert time.monotonic() < end
        time.sleep(0.05)


async def test_engines_that_end_are_seen_and_replaced_and_all_end_with_the_scorer(program: Program) -> None:
    async with httpx.AsyncClient(base_url=program.url, timeout=LIMIT_S) as http:
        expected = await program.score(some(1))
        first = members_of(program.pid)
        assert len(first) == 2
        scoring = asyncio.create_task(program.score(some(2, 200)))
        await program.once(lambda overview: overview["engine"]["reads"] > 0)
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        await program.once(lambda overview: overview["engine"]["members_up"] == 0)
        refused = await http.get("/readyz")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert "all engines have ended" in refused.json()["error"]["message"]
        assert len(await scoring) == 200
        await program.once(lambda overview: overview["engine"]["members_up"] == overview["engine"]["members"] == 2)
        assert (await http.get("/readyz")).status_code == 200
        metrics = (await http.get("/metrics")).text
        assert "icm_engines 2.0\nicm_engines_up 2.0" in "\n".join(
            line for line in metrics.splitlines() if line[0] != "#"
        )
        assert "icm_engines_lost_total 2.0" in metrics
        assert await program.score(some(1)) == expected
    second = members_of(program.pid)
    assert second.isdisjoint(first)
    assert program.stop() == 0
    until_gone(second)
    program.start()
    third = members_of(program.pid)
    program.kill()
    until_gone(third)
