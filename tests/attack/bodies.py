"""Bodies that are slow, half, large, or no requests."""

from __future__ import annotations

import asyncio
import itertools
import json

import zstandard
from tests.attack.target import Target, crowd, unhurried

from icm_client.contract.wire import MAX_TEXT_CHARS
from icm_server.http.json_body import MAX_VALUES

NUM_SLOW = 200
PIECE = b" " * 2**16
BYTES_PER_S = 20 * 10**6


async def slow_bodies(target: Target, num: int = NUM_SLOW) -> None:
    """Each comes byte by byte, and all of them have a key."""
    await _slow(target, num, keyed=True)


async def slow_bodies_without_key(target: Target) -> None:
    """The answer is 401 as soon as the headers are there."""
    await _slow(target, NUM_SLOW, keyed=False)


async def half_bodies(target: Target) -> None:
    """Half of it comes, and its sender goes away."""
    head = target.head("POST", "/v1/score", Content_Type="application/json", Content_Length=2**21)

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(head + b" " * 2**20)

    await crowd(4, once, every_s=0.2)


async def bodies_without_key(target: Target) -> None:
    """Large bodies that will be refused, at the speed of the network."""
    head = target.head("POST", "/v1/score", keyed=False, Content_Length=target.max_body_bytes)

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(head)
            for _ in range(target.max_body_bytes // len(PIECE)):
                await connection.send(PIECE)
                await asyncio.sleep(2 * len(PIECE) / BYTES_PER_S)  # two of them
            await connection.answer()

    await crowd(2, once, every_s=1.0)


async def tiny_chunks(target: Target) -> None:
    """Each piece of a body, however small, is work: 300,000 a second."""
    await _chunked(target, keyed=True)


async def tiny_chunks_without_key(target: Target) -> None:
    """The same, for a body that will be refused."""
    await _chunked(target, keyed=False)


async def large_json(target: Target) -> None:
    """As many numbers as may be, or as deep as a body is long."""
    numbers = b"0," * (min(MAX_VALUES, target.max_body_bytes // 2) - 100) + b"0"
    documents = [
        b'{"prompts": [[' + numbers + b']], "labels": [" a"]}',
        b"[" * (target.max_body_bytes // 4),
        b'{"a":' * (target.max_body_bytes // 20),
        b'{"prompts": ["' + b"\\u0061" * (target.max_body_bytes // 8) + b'"], "labels": [" a"]}',
    ]
    turn = itertools.cycle([_packed(target, "/v1/score", document) for document in documents])
    await crowd(2, lambda: target.ask(next(turn)), every_s=1.0)


async def many_characters(target: Target) -> None:
    """Texts of as many characters as fit, to be counted in tokens."""
    text = "a " * (MAX_TEXT_CHARS // 2)
    texts = [text] * min(32, target.max_body_bytes // len(text) - 1)
    request = _packed(target, "/v1/tokens", json.dumps({"texts": texts}).encode())
    await crowd(2, lambda: target.ask(request), every_s=1.0)


async def long_texts(target: Target) -> None:
    """One text as long as may be, which no window holds: how soon is that seen?"""
    text = "a " * (min(MAX_TEXT_CHARS, target.max_body_bytes - 1000) // 2)
    request = _packed(target, "/v1/score", json.dumps({"prompts": [text], "labels": [" a", " b"]}).encode())
    await crowd(2, lambda: target.ask(request), every_s=0.5)


def _packed(target: Target, path: str, document: bytes) -> bytes:
    return target.post(path, zstandard.compress(document), Content_Encoding="zstd")


async def _chunked(target: Target, *, keyed: bool) -> None:
    head = target.head("POST", "/v1/score", keyed=keyed, Content_Type="application/json", Transfer_Encoding="chunked")
    some = b"1\r\n \r\n" * 3000

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(head)
            while not connection.reader.at_eof():
                await connection.send(some)
                await asyncio.sleep(0.02)  # two of them

    await crowd(2, once, every_s=0.5)


async def _slow(target: Target, num: int, *, keyed: bool) -> None:
    head = target.head("POST", "/v1/score", keyed=keyed, Content_Type="application/json", Content_Length=10**6)
    pause_s = unhurried(num, least_s=1.0)

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(head + b'{"prompts": ["')
            while not connection.reader.at_eof():
                await asyncio.sleep(pause_s)
                await connection.send(b"x")

    await crowd(num, once, every_s=pause_s)
