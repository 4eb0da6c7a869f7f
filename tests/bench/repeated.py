"""Work that was done, or is under way for somebody else, is not done again."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path

import httpx
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.programs import run_icm, scorer

numbers = itertools.count()


async def repeated(console: Console, repetitions: int) -> list[Figure]:
    """Runs of `icm run`: alone and then again on one scorer, and two at the same time on another one."""
    again: list[float] = []
    together: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with scorer("tiny-random") as first, scorer("tiny-random") as second:
            for seed in range(repetitions):
                one = await _computed(first.url, Path(folder), [seed])
                again.append(await _computed(first.url, Path(folder), [seed]))
                two = await _computed(second.url, Path(folder), [seed, seed])
                together.append(two / one)
                console.print(f"one run computes {one:,} tokens, again {again[-1]:,}, two at the same time {two:,}")
    return [
        Figure("repeated", "tokens that a run computes which was made before", again, at_most=0),
        Figure(
            "together",
            "tokens of two identical runs started together / of one",
            together,
            at_least=0.95,
            at_most=1.05,
        ),
    ]


async def _computed(url: str, folder: Path, seeds: list[int]) -> int:
    """Tokens that the scorer computes for runs with these seeds, all at the same time."""
    before = await _total(url)
    outs = [folder / f"run{next(numbers)}" for _ in seeds]
    await asyncio.gather(*(run_icm(url, out, 64, seed) for seed, out in zip(seeds, outs, strict=True)))
    return await _total(url) - before


async def _total(url: str) -> int:
    async with httpx.AsyncClient(base_url=url) as http:
        return int((await http.get("/v1/experiments")).json()["all"]["total"]["computed_tokens"])
