"""Small requests with large answers, and those who do not take theirs."""

from __future__ import annotations

import asyncio
import json

import zstandard
from tests.attack.target import Target, crowd, unhurried

from icm_client.contract.wire import MAX_LABELS, STREAM_TYPE

NUM_PROMPTS = 2**16
NUM_SLOW = 50
NARROW_BYTES = 2**12


def wide(target: Target, num_prompts: int, num_labels: int, **headers: str) -> bytes:
    """One prompt so many times, packed into some hundred bytes."""
    body = {"prompts": ["a"] * num_prompts, "labels": [f" {number}" for number in range(num_labels)]}
    packed = zstandard.compress(json.dumps(body, separators=(",", ":")).encode())
    return target.post("/v1/score", packed, Content_Encoding="zstd", **headers)


async def wide_answers(target: Target) -> None:
    """150 MB are made, held and serialised for a few hundred bytes."""
    request = wide(target, NUM_PROMPTS, MAX_LABELS)
    await crowd(2, lambda: target.ask(request), every_s=1.0)


async def widest_answers(target: Target) -> None:
    """As many values as a scorer is likely to put into one answer, four at a time."""
    request = wide(target, 2**12, MAX_LABELS)
    await crowd(4, lambda: target.ask(request), every_s=0.5)


async def widest_answers_packed(target: Target) -> None:
    """The same for one who wants them compressed, which is work as well."""
    request = wide(target, 2**12, MAX_LABELS, Accept_Encoding="gzip")
    await crowd(4, lambda: target.ask(request), every_s=0.5)


async def wide_streams(target: Target) -> None:
    """The same in lines, which must not take the event loop for themselves."""
    request = wide(target, NUM_PROMPTS, MAX_LABELS, Accept=STREAM_TYPE)
    await crowd(1, lambda: target.ask(request), every_s=1.0)


async def slow_readers(target: Target, num: int = NUM_SLOW) -> None:
    """Streams of a megabyte that are taken byte by byte."""
    await _unread(target, wide(target, 256, MAX_LABELS, Accept=STREAM_TYPE), num)


async def slow_readers_whole(target: Target, num: int = NUM_SLOW) -> None:
    """Whole answers of a megabyte that are taken byte by byte."""
    await _unread(target, wide(target, 256, MAX_LABELS), num)


async def no_readers(target: Target) -> None:
    """Whole answers of 10 MB of which nothing is taken: each is held for its reader."""
    await _unread(target, wide(target, NUM_PROMPTS // 4, 32), NUM_SLOW, least_s=60.0)


async def _unread(target: Target, request: bytes, num: int, least_s: float = 0.5) -> None:
    pause_s = unhurried(num, least_s)

    async def once() -> None:
        async with target.connection(NARROW_BYTES) as connection:
            await connection.send(request)
            while await connection.reader.read(1):  # noqa: ASYNC110
                await asyncio.sleep(pause_s)

    await crowd(num, once, every_s=max(2.0, pause_s))
