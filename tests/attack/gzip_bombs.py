"""Bodies that unpack to as much as may be, and then neither end nor fall silent."""

from __future__ import annotations

import asyncio
import zlib

from tests.attack.target import Target, crowd

NUM = 8
TRICKLE_S = 0.5


def bomb(num_bytes: int) -> bytes:
    """Deflated to a thousandth, flushed, not ended."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(b"x" * 2**20) for _ in range(num_bytes // 2**20)]
    return b"".join([*pieces, packer.flush(zlib.Z_SYNC_FLUSH)])


EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
"""Of deflate: it unpacks to nothing, and is a sign of life."""


async def _trickled(target: Target, path: str, *, keyed: bool) -> None:
    content = bomb(target.max_body_bytes)
    head = target.head(
        "POST",
        path,
        keyed=keyed,
        Content_Type="application/json",
        Content_Encoding="gzip",
        Transfer_Encoding="chunked",
    )

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(head + _chunk(content))
            while not connection.reader.at_eof():
                await asyncio.sleep(TRICKLE_S)
                await connection.send(_chunk(EMPTY_BLOCK))

    await crowd(NUM, once, every_s=1.0)


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def bombs_to_health(target: Target) -> None:
    """A path that needs no key takes memory for bodies that nobody reads."""
    await _trickled(target, "/healthz", keyed=False)


async def bombs_without_key(target: Target) -> None:
    """The body is unpacked before the key is looked for."""
    await _trickled(target, "/v1/score", keyed=False)


async def whole_bombs(target: Target) -> None:
    """Unpacking is work, and one key has forty bodies to be unpacked at a time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = packer.compress(b" " * (target.max_body_bytes - 1)) + packer.flush()
    request = target.post("/v1/score", content, Content_Encoding="gzip")
    await crowd(40, lambda: target.ask(request), every_s=1.0)


async def bombs_with_key(target: Target) -> None:
    """One key takes all the memory that there is for bodies."""
    await _trickled(target, "/v1/score", keyed=True)
