"""How a request's body is compressed: by what the scorer says that it takes. Pure."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import zstandard

MIN_BYTES = 16_384
"""Smaller bodies travel as they are."""
ZSTD_LEVEL, GZIP_LEVEL = 3, 1
"""Fast ones: a body is compressed once, and read at once."""


class Body(NamedTuple):
    """What is sent, and its Content-Encoding if it has one."""

    content: bytes
    encoding: str | None


def accepted(header: str) -> frozenset[str]:
    """The encodings that an Accept-Encoding header of a scorer's answer (RFC 7694) names."""
    return frozenset(name.partition(";")[0].strip().lower() for name in header.split(","))


def compressed(content: bytes, encodings: frozenset[str]) -> Body:
    """The body by zstd if the scorer takes it, else gzip, else as it is: older scorers take nothing."""
    if len(content) >= MIN_BYTES and "zstd" in encodings:
        return Body(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content), "zstd")
    if len(content) >= MIN_BYTES and "gzip" in encodings:
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        return Body(packer.compress(content) + packer.flush(), "gzip")
    return Body(content, None)
