"""Text encodings: UTF-8 and UTF-16 are recognised, others have to be named."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator

from icm_annealer.sources.byte_source import ByteSource
from icm_client.contract.errors import RequestError

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer ones first."""
GUESSES = ("cp1252", "latin-1")
"""Encodings that are proposed for bytes that are not UTF-8."""
EXCERPT_BYTES = 12
MIN_NULS = 0.3
"""The share of zero bytes, all at even or all at odd places, in UTF-16 of mostly Latin letters."""


def check_encoding(name: str) -> str:
    """The name of a text encoding that Python has. Raises ValueError."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(f"there is no encoding {name!r}; usual ones are utf-8, cp1252, latin-1 and utf-16") from None
    return name


def in_utf8(source: ByteSource, encoding: str | None) -> ByteSource:
    """The source in UTF-8: unchanged, unless `encoding` names another encoding, or the first bytes are of UTF-16 or
    UTF-32. Raises RequestError for bytes that are not of that encoding, when they are read."""
    named = encoding or _recognised(source.head)
    if named is None or codecs.lookup(named).name in ("utf-8", "utf-8-sig"):
        return source
    return ByteSource(source.name, source.suffix, _recoded(source, named), None)


def not_utf8(line: bytes, place: int) -> str:
    """What is wrong with a line whose byte number `place` is not UTF-8, and how it reads in a likely encoding."""
    excerpt = line[max(0, place - EXCERPT_BYTES) : place + EXCERPT_BYTES]
    for name in GUESSES:
        try:
            shown = excerpt.decode(name).strip()
        except UnicodeDecodeError:
            continue
        if shown.isprintable():
            return (
                f"not UTF-8 (byte {place}); in {name} it reads {shown!r}: if that is right, give --encoding {name}, "
                f"or `encoding: {name}` in the task"
            )
    return f"not UTF-8 (byte {place})"


def _recognised(head: bytes) -> str | None:
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[first::2], head[1 - first :: 2]
        if zeros and not others.count(0) and zeros.count(0) > 2 * MIN_NULS * len(zeros):
            return name
    return None


def _recoded(source: ByteSource, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in itertools.chain(source.chunks(), [b""]):
            if text := decoder.decode(chunk, final=not chunk):
                yield text.encode()
    except UnicodeError as error:
        raise RequestError(f"{source.name}: not {encoding} ({' '.join(str(error).split())})", code="bad_data") from None
