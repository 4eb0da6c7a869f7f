"""Many experiments on one scorer for a long time: every row comes once and is right, and memory stays as it is.

Every experiment asks its own few passes again and again; what is right was computed beforehand, by the same fake engine
without a server. Every fourth experiment breaks each second answer off after its first rows.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.programs import memory_bytes, scorer

from icm_client import ScorerClient, ScoreRequest
from icm_server.engines.fake import FakeEngine
from icm_server.scheduling.scoring import ScoringService

NUM_EXPERIMENTS = 64


@dataclass
class Endured:
    """What became of the requests of all experiments."""

    num_requests: int = 0
    num_rows: int = 0
    num_wrong: int = 0
    num_missing: int = 0
    num_twice: int = 0
    """Rows that came a second time, and reads that were made for nobody."""
    num_left: int = 0
    """Requests that the scorer still holds, or does not know of, when all have their answers."""
    memory: list[int] = field(default_factory=list)
    """Bytes, second by second."""

    @property
    def num_lost(self) -> int:
        return self.num_missing + self.num_wrong + self.num_left


@dataclass(frozen=True)
class _Pass:
    request: ScoreRequest
    rows: list[list[float]]


async def endure(url: str, pid: int, seconds: float, num_passes: int = 8) -> Endured:
    """Uses the scorer (a fresh one, with the fake engine) for so long. Raises what the client raises."""
    found = Endured()
    rng = np.random.default_rng(0)
    own = ScoringService(FakeEngine())
    end = time.monotonic() + seconds
    asked: dict[str, int] = {}
    async with ScorerClient(url) as client, asyncio.TaskGroup() as tasks:
        passes = {
            name: [await _pass(own, rng, name) for _ in range(num_passes)]
            for name in (f"e{number:02}" for number in range(NUM_EXPERIMENTS))
        }
        end = time.monotonic() + seconds

        async def run(number: int, name: str) -> None:
            asked[name] = 0
            while time.monotonic() < end:
                its = passes[name][asked[name] % num_passes]
                asked[name] += 1
                if number % 4 == 0 and asked[name] % 2:
                    async with aclosing(client.stream(its.request)) as batches:
                        await anext(batches)
                else:
                    await _check(client, its, found)

        async def watch() -> None:
            while time.monotonic() < end:
                found.memory.append(memory_bytes(pid))
                await asyncio.sleep(1.0)

        tasks.create_task(watch())
        for number, name in enumerate(passes):
            tasks.create_task(run(number, name))
    await _settle(url, asked, found)
    return found


async def _pass(own: ScoringService, rng: np.random.Generator, name: str) -> _Pass:
    """A small tree: every prompt behind its own half of the texts."""
    texts = [f"Word: {name} {rng.integers(10**9)}\nGroup:" for _ in range(int(rng.integers(4, 12)) * 2)]
    half = len(texts) // 2
    labels = [" living", " object"]
    segments = [*(f"\n\n{text}" for text in texts), *labels]
    prefixes: list[list[int | None]] = [[None], [None]]
    for place, numbers in enumerate((range(half), range(half, len(texts)))):
        for number in numbers:
            prefixes[place] += [number, len(texts) + int(rng.integers(2))]
    request = ScoreRequest(
        segments=segments,
        prefixes=prefixes,
        prompts=[[int(number < half), number] for number in range(len(texts))],
        labels=labels,
        experiment=name,
    )
    return _Pass(request, (await own.score(request)).logprobs)


async def _check(client: ScorerClient, its: _Pass, found: Endured) -> None:
    rows: dict[int, list[float]] = {}
    async with aclosing(client.stream(its.request)) as batches:
        async for batch in batches:
            for number, row in zip(batch.prompts, batch.logprobs, strict=True):
                found.num_twice += number in rows
                rows[number] = row
    found.num_requests += 1
    found.num_rows += len(rows)
    found.num_missing += len(its.rows) - len(rows)
    found.num_wrong += sum(its.rows[number] != row for number, row in rows.items())


async def _settle(url: str, asked: dict[str, int], found: Endured) -> None:
    """What the scorer has counted, once it has seen the last one leave."""
    async with httpx.AsyncClient(base_url=url) as http, asyncio.timeout(30):
        while True:
            overview: dict[str, Any] = (await http.get("/v1/experiments")).json()
            if not overview["all"]["waiting"]["requests"]:
                break
            await asyncio.sleep(0.1)
    for row in overview["experiments"]:
        found.num_left += abs(asked.pop(row["experiment"]) - sum(row["requests"].values()))
        if not row["requests"].get("cancelled"):
            total = row["total"]
            found.num_twice += abs(total["reads"] + total["read_cache_reads"] - total["prompts"])
    found.num_left += len(asked) + overview["engine"]["reads"]


async def endurance(console: Console, seconds: float) -> list[Figure]:
    """With a small memory of finished reads, so that it is soon full and most reads are made."""
    async with scorer("", "--read-cache-memory-mb", "1", engine="fake") as server:
        found = await endure(server.url, server.pid, seconds)
    fifth = len(found.memory) // 5
    first, last = found.memory[fifth : 2 * fifth], found.memory[-fifth:]
    what = f"{NUM_EXPERIMENTS} experiments for {seconds:g} s on the fake engine:"
    details = {"requests": found.num_requests, "rows": found.num_rows, "memory_mb": round(max(found.memory) / 1e6, 1)}
    console.print(f"{details}, memory every half minute: {[round(m / 1e6, 1) for m in found.memory[::30]]} MB")
    return [
        Figure("endurance_lost", f"{what} rows lost or wrong", [found.num_lost], at_most=0, details=details),
        Figure("endurance_twice", f"{what} rows or reads twice", [found.num_twice], at_most=0),
        # Medians, since a second's figure has the requests in it that are being read just then.
        Figure(
            "endurance_memory",
            f"{what} memory in the last fifth / in the second one",
            [median(last) / median(first)],
            at_most=1.05,
        ),
    ]
