"""Faults around a scorer with the real engine, the last of them the engine's own death."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.faults import FAULTS, LIMIT_S, LONG, Program, check, is_at_work, some

from icm_client import ScorerClient, UnavailableError
from icm_client.http.retry import RetryPolicy
from icm_server.lifecycle.stopping import children_of

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def program(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    small = ["--dtype", "float32", "--engine-arg", f"kv_cache_memory_bytes={128 * 2**20}"]
    program = Program(tmp_path_factory.mktemp("scorer"), "--model", str(tiny_llama), *small)
    try:
        program.start()
        yield program
    finally:
        program.kill()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_answers_stay_right(fault: Callable[[Program], Awaitable[None]], program: Program) -> None:
    await check(program, fault)


async def test_an_engine_that_dies_ends_the_scorer_and_nobody_waits_for_it(program: Program) -> None:
    assert program.process is not None
    async with ScorerClient(program.url, retry=RetryPolicy(patience_s=0.0)) as client:
        asking = asyncio.create_task(client.score(some(11, LONG)))
        await program.once(is_at_work)
        os.kill(_engine(program.pid), signal.SIGKILL)
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(asking, LIMIT_S)
    assert program.process.wait(LIMIT_S) == 1
    assert "the engine died" in program.log.read_text()


def _engine(pid: int) -> int:
    """The process that computes; it has none of its own for that."""
    (engine,) = [child for child in children_of(pid) if b"EngineCore" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert not children_of(engine)
    return engine
