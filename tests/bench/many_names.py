"""Two keys on one scorer, one of which uses a name or a hundred times as many: what each is computed, and waits.

On the fake engine at a given speed, so that seconds are enough, over HTTP.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.programs import scorer

from icm_server.auth.keys_file import add_key

TOKENS_PER_S, MAX_CONCURRENT_TOKENS = 2_000, 4_096
NUM_PROMPTS, PROMPT_TOKENS = 10, 25
WARM_UP_S, RETRY_S = 5.0, 1.0
numbers = itertools.count()


@dataclass
class Served:
    """What one key got within a window."""

    tokens: int = 0
    seconds: list[float] = field(default_factory=list)
    """Of answered requests."""
    num_refused: int = 0


@dataclass(frozen=True)
class Use:
    """How one key uses the scorer: so many connections, each with a request after the other."""

    key: str
    num_connections: int
    name: Callable[[int], str]
    """The experiment of a connection's next request."""


def one_name(connection: int) -> str:
    return "one"


def its_own_name(connection: int) -> str:
    return f"e{connection}"


def a_fresh_name(connection: int) -> str:
    return f"fresh-{next(numbers)}"


async def used(url: str, uses: list[Use], seconds: float) -> list[Served]:
    """What each of them got, from WARM_UP_S after all have begun; what is under way at the end is left."""
    found = [Served() for _ in uses]
    begun = time.perf_counter() + WARM_UP_S

    async def ask(http: httpx.AsyncClient, use: Use, connection: int, served: Served) -> None:
        while True:
            texts = [f"{next(numbers)} " + " w" * (PROMPT_TOKENS - 2) for _ in range(NUM_PROMPTS)]
            # Other first words, so that no prompt finds another one's in the cache.
            body = {"prompts": texts, "labels": [" a", " b"], "experiment": use.name(connection)}
            start = time.perf_counter()
            answer = await http.post("/v1/score", json=body)
            if answer.status_code == 429:
                served.num_refused += start >= begun
                await asyncio.sleep(RETRY_S)
                continue
            answer.raise_for_status()
            if time.perf_counter() >= begun:
                served.tokens += answer.json()["usage"]["computed_tokens"]
                served.seconds.append(time.perf_counter() - start)

    limits = httpx.Limits(max_connections=None)
    clients = [
        httpx.AsyncClient(base_url=url, timeout=600, limits=limits, headers={"Authorization": f"Bearer {use.key}"})
        for use in uses
    ]
    tasks = [
        asyncio.create_task(ask(http, use, connection, served))
        for http, use, served in zip(clients, uses, found, strict=True)
        for connection in range(use.num_connections)
    ]
    done, _ = await asyncio.wait(tasks, timeout=seconds + WARM_UP_S)
    for task in done:
        task.result()  # raises
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for http in clients:
        await http.aclose()
    return found


async def many_names(console: Console, repetitions: int, seconds: float) -> list[Figure]:
    steady: list[float] = []
    fresh: list[float] = []
    waits: list[float] = []
    refused: list[float] = []
    for _ in range(repetitions):
        one, many = await _beside(64, one_name, 64, its_own_name, seconds)
        steady.append(_ratio(one, many))
        console.print(f"1 name {one.tokens:,} tokens, 64 names {many.tokens:,} tokens in {seconds:g} s")
        (alone,) = await _measured([("victim", 8, one_name)], seconds)
        victim, other = await _beside(8, one_name, 40, a_fresh_name, seconds)
        fresh.append(_ratio(victim, other))
        waits.append(statistics.median(victim.seconds) / statistics.median(alone.seconds))
        console.print(
            f"alone: {_described(alone)}; beside fresh names: {_described(victim)}; those: {_described(other)}"
        )
        victim, other = await _beside(8, one_name, 100, a_fresh_name, seconds, "--limit", "max_requests=64")
        refused.append(victim.num_refused)
        console.print(f"with max_requests=64: {_described(victim)}; beside 100 connections: {_described(other)}")
    return [
        Figure("names_steady", "tokens of two keys, 1 and 64 names, most / least", steady, at_most=1.10),
        Figure(
            "names_fresh",
            "tokens of two keys, 8 connections of a name and 40 of a fresh name a request, most / least",
            fresh,
            at_most=1.10,
        ),
        Figure("names_wait", "median latency of the 8 connections beside the 40 / alone", waits, at_most=2.5),
        Figure("names_refused", "of theirs refused beside 100, max_requests=64", refused, at_most=0),
    ]


async def _beside(
    num: int, name: Callable[[int], str], num_others: int, other: Callable[[int], str], seconds: float, *limits: str
) -> list[Served]:
    """The others begin first."""
    theirs, own = await _measured([("other", num_others, other), ("victim", num, name)], seconds, *limits)
    return [own, theirs]


async def _measured(
    whose: list[tuple[str, int, Callable[[int], str]]], seconds: float, *arguments: str
) -> list[Served]:
    """On a scorer of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keys.yaml")
        uses = [Use(add_key(path, who, experiments=("*",)), num, name) for who, num, name in whose]
        engine = ("--engine-arg", f"tokens_per_s={TOKENS_PER_S}")
        engine += ("--engine-arg", f"max_concurrent_tokens={MAX_CONCURRENT_TOKENS}")
        async with scorer("", "--keys-file", str(path), *engine, *arguments, engine="fake") as server:
            return await used(server.url, uses, seconds)


def _ratio(one: Served, other: Served) -> float:
    return max(one.tokens, other.tokens) / max(1, min(one.tokens, other.tokens))


def _described(served: Served) -> str:
    median = f"{statistics.median(served.seconds):.2f} s" if served.seconds else "no answer"
    return f"{served.tokens:,} tokens, {len(served.seconds)} answered (median {median}), {served.num_refused} refused"
