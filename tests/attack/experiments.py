"""One key that is many: it has as many experiments as it has requests, or as many requests as there may be."""

from __future__ import annotations

import itertools
import json

from tests.attack.target import Target, crowd

NUMBERS = itertools.count()
NAME = "attacker"
"""The attackers' key may run this experiment, and all whose names begin with it and a hyphen."""


def work(experiment: str, num_prompts: int, num_words: int) -> bytes:
    """A request that nobody has asked before, and shares nothing with any other."""
    prompts = [f"{next(NUMBERS)}" + " w" * num_words for _ in range(num_prompts)]
    return json.dumps({"prompts": prompts, "labels": [" a", " b"], "experiment": experiment}).encode()


async def fresh_names(target: Target) -> None:
    """A name never seen before has all that it could have saved, so one key overtakes everybody."""

    async def once() -> None:
        await target.ask(target.post("/v1/score", work(f"{NAME}-{next(NUMBERS)}", 8, 50)))

    await crowd(40, once)


async def many_requests(target: Target) -> None:
    """A hundred large requests at a time fill every limit on what is let in."""

    async def once() -> None:
        await target.ask(target.post("/v1/score", work(NAME, 20, 100)))

    await crowd(100, once, every_s=0.5)


async def large_requests(target: Target) -> None:
    """Each holds thousands of reads."""

    async def once() -> None:
        await target.ask(target.post("/v1/score", work(NAME, 2000, 10)))

    await crowd(4, once, every_s=0.5)
