"""Many on one scorer: together as fast as one, each with its share, and a small one hardly waits.

They are experiments without keys, or keys with an experiment each. On the fake engine, where it is given a speed, they
take seconds of it instead of a processor's: that shows the shares, and not what a real engine's steps cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.passes import ask, fresh
from tests.bench.programs import load, scorer

from icm_client import ScorerClient, ScoreRequest
from icm_server.auth.keys_file import add_key

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


class Shared(NamedTuple):
    """A scorer for several, who are `heavy0`, `heavy1`, ... and `light`."""

    url: str
    heavy: Path | None
    """A file with the API keys of the heavy ones, a line each; None without keys."""
    light: str | None
    watch: str | None
    """An admin's API key."""


@contextlib.asynccontextmanager
async def shared(by_key: bool, tokens_per_s: int) -> AsyncIterator[Shared]:
    """On the fake engine if a speed is given."""
    arguments: list[str] = []
    if tokens_per_s:
        arguments += ["--engine-arg", f"tokens_per_s={tokens_per_s}", "--engine-arg", "max_concurrent_tokens=8192"]
    with tempfile.TemporaryDirectory() as folder:
        heavy, keys = Path(folder, "heavy.txt"), Path(folder, "keys.yaml")
        light = watch = None
        if by_key:
            heavy.write_text("\n".join(add_key(keys, f"heavy{k}") for k in range(NUM)))
            light, watch = add_key(keys, "light"), add_key(keys, "watch", admin=True)
            arguments += ["--keys-file", str(keys)]
        engine = "fake" if tokens_per_s else "vllm"
        async with scorer("tiny-random", *arguments, engine=engine) as server:
            yield Shared(server.url, heavy if by_key else None, light, watch)


def _named(what: str, shot_tokens: int, by_key: bool, tokens_per_s: int) -> str:
    return what + ("_keys" if by_key else "") + ("_fake" if tokens_per_s else "") + f"_{shot_tokens}"


async def equal(
    console: Console, repetitions: int, shot_tokens: int, *, by_key: bool = False, tokens_per_s: int = 0
) -> list[Figure]:
    """Eight, each of whom always has a pass under way: the most served against the least served."""
    window_s, ratios = 20.0, []
    async with (
        shared(by_key, tokens_per_s) as server,
        load(server.url, NUM, 256, shot_tokens, server.heavy),
        _watching(server) as http,
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
    who = "keys" if by_key else "experiments"
    what = f"the most served of eight equal {who} / the least, {window_s:g} s of {shot_tokens}-token shots"
    return [Figure(_named("equal", shot_tokens, by_key, tokens_per_s), what, ratios, at_most=1.10)]


async def light(
    console: Console,
    repetitions: int,
    shot_tokens: int,
    num: int = 30,
    *,
    by_key: bool = False,
    tokens_per_s: int = 0,
) -> list[Figure]:
    """Small passes with pauses between, alone and beside seven who always have a large one under way."""
    ratios, kept = [], []
    async with (
        shared(by_key, tokens_per_s) as server,
        ScorerClient(server.url, api_key=server.light) as client,
        _watching(server) as http,
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

        def tokens_per_second(first: tuple[float, int], last: tuple[float, int]) -> float:
            return (last[1] - first[1]) / (last[0] - first[0])

        await p95_s(5)
        for _ in range(repetitions):
            alone = await p95_s(num)
            async with load(server.url, NUM - 1, 256, shot_tokens, server.heavy):
                await asyncio.sleep(3)
                begun = await computed()
                await asyncio.sleep(num * LIGHT_PAUSE_S / 2)
                without = await computed()
                ratios.append(await p95_s(num) / alone)
                kept.append(tokens_per_second(without, await computed()) / tokens_per_second(begun, without))
    beside = f"seven {'keys' if by_key else 'experiments'} of 256 in {shot_tokens}-token shots"
    name = _named("light", shot_tokens, by_key, tokens_per_s)
    return [
        Figure(name, f"p95 of passes of {LIGHT_EXAMPLES} beside {beside} / alone", ratios, at_most=2.5),
        Figure(f"{name}_kept", f"throughput of {beside} with such passes beside them / without", kept),
    ]


def _watching(server: Shared) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {server.watch}"} if server.watch else {}
    return httpx.AsyncClient(base_url=server.url, headers=headers)


async def _computed(http: httpx.AsyncClient) -> dict[str, int]:
    """Tokens computed so far for each experiment of `load`."""
    rows = (await http.get("/v1/experiments")).json()["experiments"]
    return {row["experiment"]: row["total"]["computed_tokens"] for row in rows if row["experiment"].startswith("heavy")}
