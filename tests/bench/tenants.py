"""Many experiments on one scorer: together as fast as one, each with its share, and a small one hardly waits."""

from __future__ import annotations

import asyncio
import time

import httpx
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.passes import ask, fresh
from tests.bench.programs import load, scorer

from icm_client import ScorerClient, ScoreRequest

NUM = 8
LIGHT_EXAMPLES, LIGHT_PAUSE_S = 32, 1.0


async def eight(console: Console, repetitions: int, shot_tokens: int) -> list[Figure]:
    """The same eight passes, asked at once by one experiment and by eight."""
    ratios = []
    async with scorer("tiny-random") as server, ScorerClient(server.url) as client:

        async def prompts_per_s(names: list[str]) -> float:
            requests = [await fresh(client, 256, shot_tokens, experiment=name) for name in names]
            start = time.perf_counter()
            answers = await asyncio.gather(*map(client.score, requests))
            seconds = time.perf_counter() - start
            computed = sum(answer.usage.computed_tokens for answer in answers)
            console.print(f"{len(set(names))} experiments: {seconds:.2f} s, {computed:,} tokens computed")
            return len(names) * 256 / seconds

        one, many = ["one"] * NUM, [f"e{k}" for k in range(NUM)]
        await prompts_per_s(many)
        for number in range(repetitions):
            if number % 2:
                alone, together = await prompts_per_s(one), await prompts_per_s(many)
            else:
                together, alone = await prompts_per_s(many), await prompts_per_s(one)
            ratios.append(together / alone)
    return [
        Figure(
            f"eight_{shot_tokens}",
            f"throughput of eight experiments / of one, passes of 256 in {shot_tokens}-token shots",
            ratios,
            at_least=0.95,
        )
    ]


async def equal(console: Console, repetitions: int, shot_tokens: int) -> list[Figure]:
    """Eight experiments, each of which always has a pass under way: the most served against the least served."""
    window_s, ratios = 20.0, []
    async with (
        scorer("tiny-random") as server,
        load(server.url, NUM, 256, shot_tokens),
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        await asyncio.sleep(5)
        before = await _computed(http)
        for _ in range(repetitions):
            await asyncio.sleep(window_s)
            now = await _computed(http)
            parts = [now[name] - before[name] for name in now]
            before = now
            console.print(f"tokens in {window_s:g} s: {sorted(parts)}")
            assert len(parts) == NUM
            ratios.append(max(parts) / min(parts))
    what = f"the most served of eight equal experiments / the least, {window_s:g} s of {shot_tokens}-token shots"
    return [Figure(f"equal_{shot_tokens}", what, ratios, at_most=1.10)]


async def light(console: Console, repetitions: int, shot_tokens: int, num: int = 30) -> list[Figure]:
    """Small passes with pauses between, alone and beside seven experiments that always have a large one under way."""
    ratios, kept = [], []
    async with (
        scorer("tiny-random") as server,
        ScorerClient(server.url) as client,
        httpx.AsyncClient(base_url=server.url) as http,
    ):

        async def p95_s(num: int) -> float:
            seconds = []
            for _ in range(num):
                request: ScoreRequest = await fresh(client, LIGHT_EXAMPLES, 10, experiment="light")
                await asyncio.sleep(LIGHT_PAUSE_S)
                seconds.append((await ask(client, request)).seconds)
            seconds.sort()
            p50, p95 = seconds[len(seconds) // 2], seconds[int(0.95 * len(seconds))]
            console.print(f"light: median {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, longest {seconds[-1]:.3f} s")
            return p95

        async def computed() -> tuple[float, int]:
            return time.perf_counter(), sum((await _computed(http)).values())

        def tokens_per_s(first: tuple[float, int], last: tuple[float, int]) -> float:
            return (last[1] - first[1]) / (last[0] - first[0])

        await p95_s(5)
        for _ in range(repetitions):
            alone = await p95_s(num)
            async with load(server.url, NUM - 1, 256, shot_tokens):
                await asyncio.sleep(3)
                begun = await computed()
                await asyncio.sleep(num * LIGHT_PAUSE_S / 2)
                without = await computed()
                ratios.append(await p95_s(num) / alone)
                kept.append(tokens_per_s(without, await computed()) / tokens_per_s(begun, without))
    beside = f"seven experiments of 256 in {shot_tokens}-token shots"
    return [
        Figure(
            f"light_{shot_tokens}",
            f"p95 of passes of {LIGHT_EXAMPLES} beside {beside} / alone",
            ratios,
            at_most=2.5,
        ),
        Figure(f"light_{shot_tokens}_kept", f"throughput of {beside} with such passes beside them / without", kept),
    ]


async def _computed(http: httpx.AsyncClient) -> dict[str, int]:
    """Tokens computed so far for each experiment of `load`."""
    rows = (await http.get("/v1/experiments")).json()["experiments"]
    return {row["experiment"]: row["total"]["computed_tokens"] for row in rows if row["experiment"].startswith("heavy")}
