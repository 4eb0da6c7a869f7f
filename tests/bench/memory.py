"""The memory that the scorer takes beside vLLM: idle, for reads that wait, and for finished ones."""

from __future__ import annotations

import asyncio
import tracemalloc

import httpx
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.passes import fresh
from tests.bench.programs import bare_engine, blocked_scorer, memory_bytes, scorer

from icm_client import ScorerClient
from icm_client.http.retry import RetryPolicy
from icm_server.read_cache.memory import ReadCache, encoded

MB = 10**6


async def memory(console: Console) -> list[Figure]:
    """Idle, for reads that wait, and for finished reads."""
    queued = [
        Figure(
            f"queued_memory_{shot_tokens}",
            f"a queued read, of passes of 256 in {shot_tokens}-token shots",
            [await _bytes_a_read(console, shot_tokens)],
            at_most=2048,
            unit="bytes",
        )
        for shot_tokens in (10, 60)
    ]
    return [await _idle(console), *queued, *_read_cache(console)]


async def _idle(console: Console) -> Figure:
    """The scorer's own part is measured in two ways: as the whole process with the fake engine, which has
    neither vLLM nor torch; and as what a scorer with vLLM takes more than a bare AsyncLLM in the same settings (about
    nothing: what the scorer imports, vLLM has imported as well). Both before and after three passes; the engine's own
    processes are not counted.
    """
    async with scorer("", engine="fake") as own, ScorerClient(own.url) as client:
        idle = [own.memory_bytes() / MB]
        for _ in range(3):
            await client.score(await fresh(client, 256, 10))
        idle.append(own.memory_bytes() / MB)
    async with scorer("tiny-random") as server, bare_engine("tiny-random") as bare:
        beside = [(server.memory_bytes() - memory_bytes(bare.pid)) / MB]
        async with ScorerClient(server.url) as client:
            for _ in range(3):
                await client.score(await fresh(client, 256, 10))
                await bare.read(await fresh(client, 256, 10))
            beside.append((server.memory_bytes() - memory_bytes(bare.pid)) / MB)
    console.print(f"without an engine {idle} MB; more than a bare engine's process {beside} MB")
    return Figure(
        "idle_memory",
        "the scorer's own part, idle: its process without vLLM",
        idle,
        at_most=300,
        unit="MB",
        details={"more_than_a_bare_engine_mb": beside},
    )


async def _bytes_a_read(console: Console, shot_tokens: int) -> float:
    """What the process grows by when passes of 64 experiments wait, by read.

    Their texts were asked by themselves before, as in a search: what is remembered of them is no queue's.
    """
    async with blocked_scorer() as server, ScorerClient(server.url, retry=RetryPolicy(patience_s=0.0)) as client:
        requests = [await fresh(client, 256, shot_tokens, experiment=f"e{number}") for number in range(64)]
        for request in requests:
            await client.score(request.model_copy(update={"prefixes": [], "prompts": request.segments}))
        before = server.memory_bytes()
        waiting = [asyncio.create_task(client.score(request)) for request in requests]
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            while True:
                await asyncio.sleep(0.5)
                overview = (await http.get("/v1/experiments")).json()
                held = [row["waiting"] for row in overview["experiments"] if row["waiting"]["requests"]]
                if len(held) == len(requests) and all(each["tokens"] for each in held):
                    break
        num_reads = sum(each["reads"] for each in held)
        grown = server.memory_bytes() - before
        console.print(f"{shot_tokens}-token shots: {num_reads:,} reads wait, {grown / MB:.1f} MB more")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return grown / num_reads


def _read_cache(console: Console) -> list[Figure]:
    """Fills the memory of finished reads four times over."""
    limit = 16 * 2**20
    read_cache = ReadCache(limit)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    most = 0
    for number in range(4 * limit // 200):
        read_cache.remember(number.to_bytes(16, "big"), encoded([-0.5, -1.5]))
        if number % 10_000 == 0:
            most = max(most, tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()
    console.print(f"finished reads take {most / MB:.1f} MB of {limit / MB:.1f} MB allowed")
    return [Figure("read_cache_memory", "memory of finished reads / its limit", [most / limit], at_most=1.0)]
