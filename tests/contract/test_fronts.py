"""Two scorers behind one client: one is killed, and nothing is lost; another model is an error."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import Program, some

from icm_client import ScorerClient, ScorerError
from icm_client.http.retry import RetryPolicy

pytestmark = pytest.mark.slow

NUM_EXPERIMENTS, NUM_PROMPTS = 32, 24


def scorer(folder: Path, *arguments: str) -> Program:
    folder.mkdir()
    return Program(folder, "--engine", "fake", *arguments)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[list[Program]]:
    settings = ("--engine-arg", "delay_s=0.1", "--engine-arg", "max_concurrent_reads=16")
    programs = [scorer(tmp_path / name, *settings) for name in "ab"]
    programs.append(scorer(tmp_path / "other", "--engine-arg", "seed=1"))
    try:
        yield programs
    finally:
        for program in programs:
            program.kill()


async def test_a_scorer_that_is_killed_loses_nothing_and_another_model_is_an_error(programs: list[Program]) -> None:
    first, second, other = programs
    for program in programs:
        program.start()
    requests = [some(seed, NUM_PROMPTS) for seed in range(NUM_EXPERIMENTS)]
    seen: list[Counter[int]] = [Counter() for _ in requests]
    rows: list[dict[int, list[float]]] = [{} for _ in requests]
    async with ScorerClient(f"{first.url},{second.url}", retry=RetryPolicy(patience_s=60.0)) as client:
        await client.wait_ready(60.0)

        async def run(number: int) -> None:
            async for part in client.stream(requests[number]):
                seen[number].update(part.prompts)
                rows[number].update(zip(part.prompts, part.logprobs, strict=True))

        running = [asyncio.create_task(run(number)) for number in range(NUM_EXPERIMENTS)]
        try:
            await second.once(lambda overview: overview["engine"]["reads"] > 0)
            shares = [len((await program.overview())["experiments"]) for program in (first, second)]
            assert sum(shares) == NUM_EXPERIMENTS  # each experiment at one of them
            assert min(shares) >= NUM_EXPERIMENTS // 8
            while sum(map(len, seen)) < NUM_EXPERIMENTS * NUM_PROMPTS / 8:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert sum(map(len, seen)) < NUM_EXPERIMENTS * NUM_PROMPTS * 3 / 4  # there is something to lose
            second.kill()
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
    assert seen == [Counter(range(NUM_PROMPTS))] * NUM_EXPERIMENTS  # none lost, none twice
    async with ScorerClient(first.url) as client:
        for number in (0, NUM_EXPERIMENTS - 1):
            alone = await client.score(requests[number].model_copy(update={"experiment": "alone"}))
            assert [rows[number][prompt] for prompt in range(NUM_PROMPTS)] == alone.logprobs
    async with ScorerClient(f"{first.url},{other.url}") as client:
        with pytest.raises(ScorerError, match="same model") as raised:
            await client.wait_ready(60.0)
    assert first.url in raised.value.message
    assert other.url in raised.value.message
