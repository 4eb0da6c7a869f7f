"""Small requests that unfold to much planning: a prefix tree names a text as often as it likes."""

from __future__ import annotations

import asyncio
import itertools
import json

from tests.attack.target import Target, crowd

NUMBERS = itertools.count()
PATIENCE_S = 1.0
"""After so long they go away, which should end what was begun for them."""


async def merging_chain(target: Target) -> None:
    """A chain of prefixes whose labels merge with it: each prompt is tokenized as a whole, n characters n times."""
    await _chains(target, "w ", ["x", "y"], [4000, 8000])


async def honest_chain(target: Target) -> None:
    """A deep chain of words that do not merge, a prompt at each: much work that is charged."""
    await _chains(target, " w", [" a", " b"], [1000])


async def joined_chain(target: Target) -> None:
    """A chain of texts without any safe boundary between them."""
    await _chains(target, "a" * 20, [" a", " b"], [8000])


async def joined_prompts(target: Target) -> None:
    """Prompts of many texts that join: a small body, two hundred million characters."""
    segments = ["a" * 1000]
    body = {"segments": segments, "prompts": [[None, *[0] * (90 + k % 10)] for k in range(2000)], "labels": [" a", "b"]}
    await _hurried(target, [json.dumps(body).encode()])


async def _chains(target: Target, text: str, labels: list[str], lengths: list[int]) -> None:
    bodies = [
        json.dumps(
            {
                "segments": [text, f"{next(NUMBERS)} "],
                "prefixes": [[None, 1, 0], *([number, 0] for number in range(length - 1))],
                "prompts": [[number] for number in range(length)],
                "labels": labels,
                "fresh": True,
            },
            separators=(",", ":"),
        ).encode()
        for length in lengths
    ]
    await _hurried(target, bodies)


async def _hurried(target: Target, bodies: list[bytes]) -> None:
    """Two callers, who ask again when they have an answer or lost patience."""
    turn = itertools.cycle(bodies)

    async def once() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await target.ask(target.post("/v1/score", next(turn)))

    await crowd(2, once, every_s=0.25)
