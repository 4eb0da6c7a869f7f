"""Compressed request bodies, unpacked so that none can grow beyond what is asked for. A leaf."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

import zstandard

MAX_WINDOW_BYTES = 8 * 2**20
"""The memory that a zstd body may ask for: what RFC 9659 has every receiver take over HTTP, and no more."""


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Coding(NamedTuple):
    begin: Callable[[], _Unpacker]
    slice_bytes: int
    """How much is unpacked at once: at the format's highest ratio about 8 MB come of it."""


_GZIP = _Coding(lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), 8192)
"""At most 1,032 bytes of one."""
_ZSTD = _Coding(lambda: zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj(), 256)
"""At most 128 KiB of a block, which takes four."""
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "zstd": _ZSTD}

ACCEPTED = "zstd, gzip"
"""What an answer's Accept-Encoding header tells the client (RFC 7694)."""


class CorruptBodyError(Exception):
    """The body is not of the encoding that its header names, or does not end where it should."""


class Fed(NamedTuple):
    """What came of feeding an unpacker."""

    plain: bytes
    rest: bytes
    """Of what it was fed; to be fed next."""


class Unpacking:
    """One compressed body. Raises KeyError for an encoding that is not known."""

    def __init__(self, encoding: str):
        begin, self._slice_bytes = _CODINGS[encoding]
        self._unpacker = begin()
        self._encoding = encoding
        self._begun = False

    def feed(self, data: bytes, enough: int) -> Fed:
        """The plain bytes that `data` adds; once these are `enough`, the rest is left.

        They may be 8 MB more than enough. Raises CorruptBodyError.
        """
        pieces: list[bytes] = []
        num_plain = start = 0
        while start < len(data) and (num_plain < enough or not start):
            self._begun = True
            if self._unpacker.eof:
                raise CorruptBodyError(f"the {self._encoding} body has data after its end")
            try:
                pieces.append(self._unpacker.decompress(data[start : start + self._slice_bytes]))
            except (zlib.error, zstandard.ZstdError) as error:
                raise CorruptBodyError(f"the body is not valid {self._encoding}: {error}") from None
            if self._unpacker.unused_data:
                raise CorruptBodyError(f"the {self._encoding} body has data after its end")
            start += self._slice_bytes
            num_plain += len(pieces[-1])
        return Fed(b"".join(pieces), data[start:])

    def finish(self) -> None:
        """Raises CorruptBodyError if the body is truncated; an empty one is not."""
        if self._begun and not self._unpacker.eof:
            raise CorruptBodyError(f"the {self._encoding} body is truncated")
