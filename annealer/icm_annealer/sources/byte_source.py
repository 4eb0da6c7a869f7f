"""Byte sources, compressed or not: a file, a pipe, or standard input. Each is opened once and read once. A leaf.

A pipe cannot be rewound, so the format is recognised from the first bytes, which are kept: no source is opened twice.
"""

from __future__ import annotations

import bz2
import contextlib
import itertools
import lzma
import os
import re
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple

import zstandard

from icm_client.contract.errors import RequestError

STANDARD_INPUT = "-"
HEAD_BYTES = 4096
"""The number of first bytes from which a format is recognised."""
CHUNK_BYTES = 1 << 16
PACKED_CHUNK_BYTES = 1 << 12
"""Compressed bytes that are decompressed at once; their largest possible output, about 100 MB of zstd, fits memory."""
MAX_MEMORY_BYTES = 256 * 1024 * 1024
"""The largest window that a decompressor may allocate."""
MAX_SPOOLED_BYTES = 64 * 1024**3


class _Packing(NamedTuple):
    """A compression format, recognised by its first bytes."""

    name: str
    magic: re.Pattern[bytes]
    suffixes: tuple[str, ...]
    new: Callable[[], Any]
    """Creates a decompressor of one member, with `decompress`, `eof` and `unused_data` as in the standard library."""


_PACKINGS = (
    _Packing("gzip", re.compile(rb"\x1f\x8b"), (".gz",), lambda: zlib.decompressobj(wbits=31)),
    _Packing("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), (".bz2",), bz2.BZ2Decompressor),
    _Packing(
        "xz",
        re.compile(rb"\xfd7zXZ\x00"),
        (".xz",),
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY_BYTES),
    ),
    _Packing(
        "zstd",
        re.compile(rb"\x28\xb5\x2f\xfd"),
        (".zst", ".zstd"),
        lambda: zstandard.ZstdDecompressor(max_window_size=MAX_MEMORY_BYTES).decompressobj(),
    ),
)


class ByteSource:
    """The decompressed bytes of one source. Create it with `opened`."""

    def __init__(self, name: str, suffix: str, chunks: Iterator[bytes], file: BinaryIO | None):
        self.name = name
        """The name of the source in errors."""
        self.suffix = suffix
        """The suffix of its name, in lower case and without a compression suffix; empty if there is none."""
        self._file = file
        self.head = b""
        """Its first bytes."""
        while len(self.head) < HEAD_BYTES and (chunk := next(chunks, b"")):
            self.head += chunk
        self._chunks = itertools.chain([self.head] if self.head else [], chunks)

    def chunks(self) -> Iterator[bytes]:
        """All bytes, in pieces."""
        return self._chunks

    def lines(self, max_bytes: int) -> Iterator[bytes]:
        """The lines with their line ends (\\n, \\r\\n or \\r; the last line may have none).

        Raises RequestError naming a line longer than `max_bytes`.
        """
        number, num_bytes = 0, 0
        begun: list[bytes] = []  # pieces of the current line, joined once when it is complete
        for chunk in self._chunks:
            if begun and begun[-1].endswith(b"\r"):  # possibly half of \r\n
                chunk = begun.pop() + chunk
            pieces = chunk.splitlines(keepends=True)
            rest = b"" if pieces[-1].endswith(b"\n") else pieces.pop()
            for line in pieces:
                if begun:
                    line = b"".join([*begun, line])
                    begun, num_bytes = [], 0
                number += 1
                self._check(number, len(line), max_bytes)
                yield line
            if rest:
                begun.append(rest)
                num_bytes += len(rest)
                self._check(number + 1, num_bytes, max_bytes)
        if begun:
            yield b"".join(begun)

    def content(self, max_bytes: int) -> bytes | None:
        """The whole content; None if it is longer than `max_bytes`."""
        content = bytearray()
        for chunk in self._chunks:
            content += chunk
            if len(content) > max_bytes:
                return None
        return bytes(content)

    @contextlib.contextmanager
    def seekable(self) -> Iterator[BinaryIO]:
        """A seekable file: the source itself, or a temporary copy of it."""
        if self._file is not None:
            self._file.seek(0)
            yield self._file
            return
        with tempfile.TemporaryFile(prefix="icm-data-") as file:
            for chunk in self._chunks:
                if file.tell() > MAX_SPOOLED_BYTES:
                    raise RequestError(f"{self.name}: larger than {MAX_SPOOLED_BYTES} bytes", code="bad_data")
                file.write(chunk)
            file.seek(0)
            yield file

    def _check(self, number: int, num_bytes: int, max_bytes: int) -> None:
        if num_bytes > max_bytes:
            raise RequestError(f"{self.name}, line {number}: longer than {max_bytes} bytes", code="bad_data")


def name_of(source: Path | str) -> str:
    """The name of a source in messages."""
    return "standard input" if source == STANDARD_INPUT else str(source)


def is_stream(source: Path | str) -> bool:
    """Whether a source can be read only once, such as standard input or a pipe."""
    if source == STANDARD_INPUT:
        return True
    try:
        mode = os.stat(source).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextlib.contextmanager
def opened(source: Path | str, name: str | None = None) -> Iterator[ByteSource]:
    """Opens a file or pipe at a path, or standard input (`-`), and decompresses gzip, bzip2, xz and zstd.

    Raises RequestError naming the source (or `name`) if it cannot be read, or if compressed data are damaged or
    truncated.
    """
    name = name or name_of(source)
    try:
        with _raw(source) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                os.set_blocking(file.fileno(), True)  # otherwise "no data yet" would be read as the end
            chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
            head = next(chunks, b"")
            chunks = itertools.chain([head] if head else [], chunks)
            packing = next((one for one in _PACKINGS if one.magic.match(head)), None)
            if packing is not None:
                chunks = _unpacked(name, packing, chunks)
            own = file if packing is None and stat.S_ISREG(mode) and file.seekable() else None
            yield ByteSource(name, _suffix(source), chunks, own)
    except OSError as error:
        raise RequestError(f"{name}: {error.strerror or error}", code="bad_data") from None


def _raw(source: Path | str) -> BinaryIO:
    return open(0, "rb", closefd=False) if source == STANDARD_INPUT else open(source, "rb")


def _suffix(source: Path | str) -> str:
    path = PurePath(source)
    packed = any(path.suffix.lower() in packing.suffixes for packing in _PACKINGS)
    return (path.with_suffix("") if packed else path).suffix.lower()


def _unpacked(name: str, packing: _Packing, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompresses all members in sequence. Only zero padding may follow the last one.

    The file classes of the standard library silently ignore other data after a bzip2 or xz member.
    """
    member: Any = None
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), PACKED_CHUNK_BYTES):
                left = chunk[start : start + PACKED_CHUNK_BYTES]
                while left:
                    if member is None and not (left := left.lstrip(b"\0")):
                        break
                    member = member or packing.new()
                    unpacked = member.decompress(left)
                    left = b""
                    if member.eof:
                        left, member = member.unused_data, None
                    for place in range(0, len(unpacked), CHUNK_BYTES):
                        yield unpacked[place : place + CHUNK_BYTES]
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise RequestError(
            f"{name}: damaged {packing.name} data ({' '.join(str(error).split())})", code="bad_data"
        ) from None
    if member is not None:
        raise RequestError(f"{name}: the {packing.name} data end in the middle; is it whole?", code="bad_data")
