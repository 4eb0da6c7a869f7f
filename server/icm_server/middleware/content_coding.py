"""Decompresses request bodies in bounded pieces. A leaf."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

import zstandard

MAX_WINDOW_BYTES = 8 * 2**20
"""The largest window of a zstd body: what RFC 9659 requires every HTTP receiver to accept, and no more."""


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Coding(NamedTuple):
    begin: Callable[[], _Unpacker]
    slice_bytes: int
    """How much is decompressed at once: at the format's highest ratio the result is about 8 MB."""


_GZIP = _Coding(lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), 8192)
"""The ratio is at most 1,032."""
_ZSTD = _Coding(lambda: zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj(), 256)
"""The ratio is at most 128 KiB per block of four bytes."""
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "zstd": _ZSTD}

ACCEPTED = "zstd, gzip"
"""The Accept-Encoding header of answers, which lists the accepted encodings (RFC 7694)."""


class CorruptBodyError(Exception):
    """The body does not have the encoding of its header, or is truncated or followed by other data."""


class Fed(NamedTuple):
    """The result of feeding a decompressor."""

    plain: bytes
    rest: bytes
    """The part of the input that has to be fed next."""


class Unpacking:
    """One compressed body. Raises KeyError for an unknown encoding."""

    def __init__(self, encoding: str):
        begin, self._slice_bytes = _CODINGS[encoding]
        self._unpacker = begin()
        self._encoding = encoding
        self._begun = False

    def feed(self, data: bytes, enough: int) -> Fed:
        """The decompressed bytes of `data`; when these reach `enough`, the remaining input is returned.

        The output may exceed `enough` by 8 MB. Raises CorruptBodyError.
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
