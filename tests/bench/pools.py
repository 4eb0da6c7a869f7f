"""Two engines behind one scorer against one: throughput, and what the tokens of their passes cost.

The fake engine takes the time of a given speed, so two of them need no second processor. The real ones are two tiny
Llamas: what is shown are their answers and their tokens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.passes import fresh
from tests.bench.programs import START_LIMIT_S, scorer

from icm_client import ScorerClient
from icm_client.contract.wire import ScoreRequest
from icm_server.lifecycle.stopping import children_of

TOKENS_PER_S = 4000
NUM_EXPERIMENTS, NUM_EXAMPLES, SHOT_TOKENS = 8, 128, 10
TOLERANCE = 1e-3
"""Nats: what batching and cached prefixes change on a real engine."""


async def throughput(console: Console, repetitions: int) -> list[Figure]:
    """The same passes of four experiments by one fake engine and by two."""
    speed = ("--engine-arg", f"tokens_per_s={TOKENS_PER_S}", "--engine-arg", "max_concurrent_tokens=8192")
    speedups, tokens = [], []
    async with (
        scorer("fake", *speed, engine="fake") as one,
        scorer("fake", *speed, "--engines", "2", engine="fake") as two,
        ScorerClient(one.url) as alone,
        ScorerClient(two.url) as pool,
    ):
        for _ in range(repetitions):
            names = [f"e{number}" for number in range(NUM_EXPERIMENTS)]
            requests = [await fresh(alone, NUM_EXAMPLES, SHOT_TOKENS, experiment=name) for name in names]
            by_one, by_two = [await _scored(client, requests) for client in (alone, pool)]
            assert by_one.rows == by_two.rows
            console.print(f"one engine: {by_one.seconds:.2f} s, two: {by_two.seconds:.2f} s")
            speedups.append(by_one.seconds / by_two.seconds)
            tokens.append(by_two.computed_tokens / by_one.computed_tokens)
    what = f"passes of {NUM_EXAMPLES} by {NUM_EXPERIMENTS} experiments, fake engines with a step time"
    return [
        Figure("pool", f"throughput of two engines / of one, {what}", speedups, at_least=1.9),
        Figure("pool_tokens", f"computed tokens of two engines / of one, {what}", tokens, at_most=1.10),
    ]


async def real(console: Console) -> list[Figure]:
    """Passes by one tiny Llama and by two; one of the two is killed while it has reads, and comes back."""
    async with scorer("tiny-random") as one, ScorerClient(one.url) as alone:
        requests = [await fresh(alone, NUM_EXAMPLES, SHOT_TOKENS) for _ in range(2)]
        answers = [await _scored(alone, [request]) for request in requests]
    async with (
        scorer("tiny-random", "--engines", "2") as two,
        ScorerClient(two.url) as pool,
        httpx.AsyncClient(base_url=two.url) as http,
    ):
        both = await _scored(pool, requests[:1])
        start = time.perf_counter()
        scoring = asyncio.create_task(_scored(pool, requests[1:]))
        await _until(http, lambda engine: engine["reads"] > 0)
        os.kill(_member(two.pid), signal.SIGKILL)
        after = await scoring
        await _until(http, lambda engine: engine["members_up"] == 2)
        console.print(f"one was killed; all answered, and two again after {time.perf_counter() - start:.1f} s")
    what = f"a pass of {NUM_EXAMPLES}, tiny Llama"
    ratio = both.computed_tokens / answers[0].computed_tokens
    distances = [_distance(answers[0].rows, both.rows), _distance(answers[1].rows, after.rows)]
    return [
        Figure("pool_vllm_tokens", f"computed tokens of two vLLM engines / of one, {what}", [ratio], at_most=1.10),
        Figure(
            "pool_vllm_answers",
            f"largest difference between two engines' answers and one's (once with one killed), {what}",
            distances,
            at_most=TOLERANCE,
            unit="nats",
        ),
    ]


class Scored(NamedTuple):
    """Passes that were sent at once."""

    seconds: float
    computed_tokens: int
    rows: list[list[float]]


async def _scored(client: ScorerClient, requests: list[ScoreRequest]) -> Scored:
    start = time.perf_counter()
    answers = await asyncio.gather(*map(client.score, requests))
    seconds = time.perf_counter() - start
    rows = [row for answer in answers for row in answer.logprobs]
    return Scored(seconds, sum(answer.usage.computed_tokens for answer in answers), rows)


async def _until(http: httpx.AsyncClient, condition: Callable[[dict[str, Any]], bool]) -> None:
    """Waits until it holds of the engine's load."""
    async with asyncio.timeout(START_LIMIT_S):
        while not condition((await http.get("/v1/experiments")).json()["engine"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _member(pid: int) -> int:
    """The process of one of the scorer's engines."""
    return next(
        child for child in children_of(pid) if b"icm_server.pool.process" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def _distance(rows: list[list[float]], others: list[list[float]]) -> float:
    pairs = zip(rows, others, strict=True)
    return max(abs(a - b) for row, other in pairs for a, b in zip(row, other, strict=True))
