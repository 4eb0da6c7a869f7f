"""Requests that never come to the end of their headers."""

from __future__ import annotations

import asyncio

from tests.attack.target import Target, crowd, unhurried

NUM_HALF_OPEN = 1000
BYTES_PER_S = 25 * 10**6
FLOOD_BYTES = 200 * 10**6


async def half_headers(target: Target, num: int = NUM_HALF_OPEN) -> None:
    """As many connections as the scorer has descriptors keep everybody else out."""
    head = target.head("GET", "/healthz", keyed=False, ends=False)
    pause_s = unhurried(num, least_s=2.0)

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(head)
            while not connection.reader.at_eof():
                await asyncio.sleep(pause_s)
                await connection.send(b"\r\nX-A: b")

    await crowd(num, once, every_s=pause_s)


async def many_headers(target: Target) -> None:
    """200 MB of header lines are kept until the last one has come."""
    await _flood(target, b"\r\n", b"X-%d: " + b"a" * 4000 + b"\r\n")


async def endless_header(target: Target) -> None:
    """One header line that does not end."""
    await _flood(target, b"\r\nX-A: ", b"a" * 4000)


async def tiny_headers(target: Target) -> None:
    """Each of them, however small, is work."""
    await _flood(target, b"\r\n", b"a:\r\n" * 1000)


async def endless_path(target: Target) -> None:
    """The first line has no end."""
    await _flood(target, b"", b"a" * 4000, head=b"GET /")


async def _flood(target: Target, begin: bytes, piece: bytes, head: bytes = b"") -> None:
    head = (head or target.head("GET", "/healthz", keyed=False, ends=False)) + begin

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(head)
            some = b"".join(piece.replace(b"%d", b"%d" % number) for number in range(16))
            for _ in range(FLOOD_BYTES // len(some)):
                await connection.send(some)
                await asyncio.sleep(2 * len(some) / BYTES_PER_S)  # two of them

    await crowd(2, once, every_s=0.5)
