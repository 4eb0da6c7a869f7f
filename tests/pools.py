"""Pools of fake engines, and passes for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from icm_client.contract.wire import ScoreRequest
from icm_server.config import ServerConfig
from icm_server.engines.fake import FakeTokenizer
from icm_server.engines.places import ANYWHERE
from icm_server.pool.engine import PoolEngine, Sleep
from icm_server.pool.member import SILENT_S
from icm_server.pool.routing import Routing

LABELS = [" living", " object"]


@contextlib.asynccontextmanager
async def fake_pool(
    num: int,
    *,
    routing: Routing | None = None,
    sleep: Sleep = asyncio.sleep,
    silent_s: float = SILENT_S,
    **settings: Any,
) -> AsyncIterator[PoolEngine]:
    """Real processes; `settings` are the fake engine's. It is closed at the end."""
    config = ServerConfig(engine="fake", engines=num, engine_args=settings)
    places, say = [ANYWHERE] * num, logging.getLogger("pools").info
    pool = await PoolEngine.started(
        config, places, FakeTokenizer(), say, routing=routing, sleep=sleep, silent_s=silent_s
    )
    try:
        yield pool
    finally:
        await pool.close()


def tree_pass(num_examples: int, seed: int, *, num_words: int = 12, experiment: str = "pass") -> ScoreRequest:
    """A pass over examples that nobody has asked about before: each behind all the others, as a tree."""
    draw = random.Random(seed)
    names = [" ".join(f"w{draw.randrange(10**6)}" for _ in range(num_words)) for _ in range(num_examples)]
    shots = [f"\n\nWord: {name}\nGroup:{draw.choice(LABELS)}" for name in names]
    queries = [f"\n\nWord: {name}\nGroup:" for name in names]
    prefixes: list[list[int | None]] = []
    prompts: list[list[int | None]] = []

    def below(examples: Sequence[int], prefix: int | None) -> None:
        if len(examples) == 1:
            prompts.append([prefix, num_examples + examples[0]])
            return
        middle = len(examples) // 2
        for queried, shown in ((examples[:middle], examples[middle:]), (examples[middle:], examples[:middle])):
            prefixes.append([prefix, *shown])
            below(queried, len(prefixes) - 1)

    below(range(num_examples), None)
    return ScoreRequest(
        segments=[*shots, *queries], prefixes=prefixes, prompts=prompts, labels=LABELS, experiment=experiment
    )
