"""Decompresses an answer's body piece by piece, so that memory is bounded however well it is compressed."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import httpx

ACCEPTED = "gzip"
"""The accepted encoding of answers, which can be decompressed in pieces of any size."""
PIECE_BYTES = 2**18


async def unpacked(response: httpx.Response) -> AsyncIterator[bytes]:
    """Pieces of at most PIECE_BYTES, or as they arrived if they are not compressed.

    Raises httpx.DecodingError for another encoding, or for damaged data.
    """
    if response.is_stream_consumed:  # by a transport that returns complete answers
        yield response.content
        return
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        async for chunk in response.aiter_raw():
            yield chunk
        return
    if encoding not in ("gzip", "x-gzip"):
        raise httpx.DecodingError(f"it is packed by {encoding[:40]!r}, which was not asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    async for chunk in response.aiter_raw():
        if unpacker.eof:
            raise httpx.DecodingError("something follows its end")
        while True:
            try:
                piece = unpacker.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise httpx.DecodingError(str(error)) from None
            if piece:
                yield piece
            chunk = unpacker.unconsumed_tail
            if not chunk and len(piece) < PIECE_BYTES:
                break
