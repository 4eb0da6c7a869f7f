"""Two engines behind one scorer against one: throughput, and what the tokens of their passes cost.

The fake engine takes the time of a given speed, so two of them need no second processor.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.passes import fresh
from tests.bench.programs import scorer

from icm_client import ScorerClient
from icm_client.contract.wire import ScoreRequest

TOKENS_PER_S = 4000
NUM_EXPERIMENTS, NUM_EXAMPLES, SHOT_TOKENS = 8, 128, 10


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
