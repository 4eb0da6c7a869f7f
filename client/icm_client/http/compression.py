"""Compresses request bodies with an encoding that the scorer accepts. Pure."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import zstandard

MIN_BYTES = 16_384
"""Smaller bodies are not compressed."""
ZSTD_LEVEL, GZIP_LEVEL = 3, 1
"""Fast levels: each body is compressed once and read once."""


class Body(NamedTuple):
    """The bytes to send, and their Content-Encoding if there is one."""

    content: bytes
    encoding: str | None


def accepted(header: str) -> frozenset[str]:
    """The encodings in an Accept-Encoding header of a scorer's answer (RFC 7694)."""
    return frozenset(name.partition(";")[0].strip().lower() for name in header.split(","))


def compressed(content: bytes, encodings: frozenset[str]) -> Body:
    """The body compressed with zstd if the scorer accepts it, otherwise with gzip, otherwise uncompressed: older
    scorers accept neither."""
    if len(content) >= MIN_BYTES and "zstd" in encodings:
        return Body(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content), "zstd")
    if len(content) >= MIN_BYTES and "gzip" in encodings:
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        return Body(packer.compress(content) + packer.flush(), "gzip")
    return Body(content, None)
