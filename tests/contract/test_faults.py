"""Faults around a scorer with the fake engine; `tests/engine/test_faults.py` has them around vLLM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.faults import FAULTS, Program, check

pytestmark = pytest.mark.slow

SLOW = ("--engine", "fake", "--engine-arg", "delay_s=0.01", "--engine-arg", "max_concurrent_reads=8")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("scorer"), *SLOW)
    program.start()
    yield program
    assert program.stop() == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_answers_stay_right(fault: Callable[[Program], Awaitable[None]], program: Program) -> None:
    await check(program, fault)
