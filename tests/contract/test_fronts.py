"""Two scorers behind one client: a key's limit holds over both, one is killed, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.faults import LIMIT_S, Program, some

from icm_client import ScorerClient, ScorerError
from icm_client.http.retry import RetryPolicy
from icm_server.auth.keys_file import add_key

pytestmark = pytest.mark.slow

NUM_EXPERIMENTS, NUM_REQUESTS, NUM_PROMPTS = 32, 96, 10
"""Each experiment has three requests at once."""
LIMIT = 3000
"""Tokens that the key may have queued on both scorers together: about 24 of the requests."""


class Scorers(NamedTuple):
    first: Program
    second: Program
    """Its engine takes minutes for its half of the work, so it is never done when it is killed."""
    api_key: str


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorers]:
    folder = tmp_path_factory.mktemp("scorers")
    keys = folder / "keys.yaml"
    api_key = add_key(keys, "alice", experiments=("e*",), max_queued_tokens=LIMIT)
    programs = []
    for name, delay_s, max_reads in (("fast", 0.05, 16), ("slow", 0.5, 1)):
        (folder / name).mkdir()
        arguments = ["--engine", "fake", "--keys-file", str(keys), "--one-of", "2"]
        arguments += ["--engine-arg", f"delay_s={delay_s}", "--engine-arg", f"max_concurrent_reads={max_reads}"]
        programs.append(Program(folder / name, *arguments, api_key=api_key))
    try:
        for program in programs:
            program.start()
        yield Scorers(*programs, api_key)
    finally:
        for program in programs:
            program.kill()


async def queued(program: Program) -> int:
    """The tokens that the key has queued there."""
    return int((await program.overview())["all"]["waiting"]["tokens"])


async def test_a_keys_limit_holds_over_both_and_a_scorer_that_is_killed_loses_nothing(scorers: Scorers) -> None:
    first, second, api_key = scorers
    requests = [
        some(seed, NUM_PROMPTS).model_copy(update={"experiment": f"e{seed % NUM_EXPERIMENTS}"})
        for seed in range(NUM_REQUESTS)
    ]
    seen: list[Counter[int]] = [Counter() for _ in requests]
    rows: list[dict[int, list[float]]] = [{} for _ in requests]
    most = Counter[str]()
    url = f"{first.url},{second.url}"
    async with ScorerClient(url, api_key=api_key, retry=RetryPolicy(patience_s=60.0)) as client:
        await client.wait_ready(60.0)

        async def run(number: int) -> None:
            async for part in client.stream(requests[number]):
                seen[number].update(part.prompts)
                rows[number].update(zip(part.prompts, part.logprobs, strict=True))

        async def watch() -> None:
            while True:
                most[first.url] = max(most[first.url], await queued(first))
                await asyncio.sleep(0.05)

        running = [asyncio.create_task(run(number)) for number in range(len(requests))]
        watching = asyncio.create_task(watch())

        def is_part_used(overview: dict[str, Any]) -> bool:
            most[second.url] = max(most[second.url], overview["all"]["waiting"]["tokens"])
            return most[second.url] >= 0.9 * LIMIT / 2

        try:
            await second.once(is_part_used)
            names: list[set[str]] = []
            async with asyncio.timeout(LIMIT_S):
                while sum(map(len, names)) < NUM_EXPERIMENTS:
                    overviews = [await program.overview() for program in (first, second)]
                    names = [{row["experiment"] for row in overview["experiments"]} for overview in overviews]
            assert names[0].isdisjoint(names[1])  # each experiment at one of them
            assert min(map(len, names)) >= NUM_EXPERIMENTS // 8
            theirs = [number for number, request in enumerate(requests) if request.experiment in names[1]]
            async with asyncio.timeout(LIMIT_S):
                while not any(seen[number] for number in theirs):  # noqa: ASYNC110  (rows have arrived from it)
                    await asyncio.sleep(0.01)
            assert any(len(seen[number]) < NUM_PROMPTS for number in theirs)  # and there is something to lose
            second.kill()
            await asyncio.gather(*running)
        finally:
            for task in (*running, watching):
                task.cancel()
    assert seen == [Counter(range(NUM_PROMPTS))] * len(requests)  # none lost, none twice
    assert most[first.url] <= LIMIT / 2
    assert most[second.url] <= LIMIT / 2
    for number in (0, len(requests) - 1):
        alone = await first.score(requests[number].model_copy(update={"experiment": "e-alone"}))
        assert [rows[number][prompt] for prompt in range(NUM_PROMPTS)] == alone


async def test_another_model_is_an_error(scorers: Scorers, tmp_path: Path) -> None:
    other = Program(tmp_path, "--engine", "fake", "--engine-arg", "seed=1")
    other.start()
    try:
        async with ScorerClient(f"{scorers.first.url},{other.url}", api_key=scorers.api_key) as client:
            with pytest.raises(ScorerError, match="same model") as raised:
                await client.wait_ready(60.0)
    finally:
        other.kill()
    assert scorers.first.url in raised.value.message
    assert other.url in raised.value.message
