"""Compressed bodies: unpacked exactly, never beyond what is asked for, and never believed when damaged."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_client.http.compression import compressed
from icm_server.middleware.content_coding import ACCEPTED, CorruptBodyError, Unpacking

MB = 2**20
ENCODINGS = ["gzip", "zstd"]


def packed(content: bytes, encoding: str) -> bytes:
    return gzip.compress(content) if encoding == "gzip" else zstandard.ZstdCompressor().compress(content)


def unpacked(content: bytes, encoding: str, *, piece: int = 65_536, enough: int = 2**30) -> bytes:
    unpacking, found = Unpacking(encoding), b""
    for start in range(0, len(content), piece):
        rest = content[start : start + piece]
        while rest:
            plain, rest = unpacking.feed(rest, enough)
            assert len(plain) <= enough + 9 * MB
            found += plain
    unpacking.finish()
    return found


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ENCODINGS), st.binary(max_size=3000), st.integers(1, 300), st.integers(1, 400))
def test_what_was_packed_is_unpacked(encoding: str, content: bytes, times: int, piece: int) -> None:
    assert unpacked(packed(content * times, encoding), encoding, piece=piece) == content * times


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_client_packs_what_is_unpacked_here(encoding: str) -> None:
    content = b"Word: cod\nGroup: living\n\n" * 1000
    body = compressed(content, frozenset({encoding}))
    assert body.encoding == encoding
    assert unpacked(body.content, encoding) == content
    assert encoding in ACCEPTED


def flood(encoding: str, num_bytes: int) -> bytes:
    """The smallest body that unpacks to so many zeros: the format's highest ratio."""
    if encoding == "gzip":
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        return b"".join(packer.compress(bytes(MB)) for _ in range(num_bytes // MB)) + packer.flush()
    # Blocks that repeat one byte, each of them 128 KiB, written by hand: no compressor makes better ones.
    header = bytes.fromhex("28b52ffd") + bytes([0x00, 0x58])  # a window of 2 MiB, no content size
    block = ((2**17) << 3) | (1 << 1)
    last = block | 1
    return (
        header + (block.to_bytes(3, "little") + b"\0") * (num_bytes // 2**17 - 1) + last.to_bytes(3, "little") + b"\0"
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_comes_by_the_piece(encoding: str) -> None:
    bomb = flood(encoding, 24 * MB)
    assert len(bomb) < MB // 20
    for enough in (0, 1000, 20 * MB):
        assert unpacked(bomb, encoding, piece=len(bomb), enough=enough) == bytes(24 * MB)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_floods_are_right(encoding: str) -> None:
    assert unpacked(flood(encoding, 4 * MB), encoding) == bytes(4 * MB)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:3],
        lambda content: content + b"x",
        lambda content: content + content,
        lambda content: b"x" + content,
        lambda content: b"not compressed at all",
        lambda content: content[:8] + bytes([content[8] ^ 0xFF]) + content[9:-1],
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 65_536])
def test_damage_is_reported(encoding: str, damage: Callable[[bytes], bytes], piece: int) -> None:
    content = damage(packed(b"Word: cod\nGroup: living\n\n" * 50 + bytes(range(256)), encoding))
    with pytest.raises(CorruptBodyError, match=encoding):
        unpacked(content, encoding, piece=piece)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ENCODINGS), st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_unpacked_or_refused(encoding: str, content: bytes, piece: int) -> None:
    with contextlib.suppress(CorruptBodyError):
        unpacked(content, encoding, piece=piece)


def test_a_window_that_would_take_the_memory_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    content = packer.compress(bytes(range(256)) * 4096) + packer.flush()
    with pytest.raises(CorruptBodyError):
        unpacked(content, "zstd")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_at_all_is_an_empty_body(encoding: str) -> None:
    assert unpacked(b"", encoding) == b""


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "", "GZIP"])
def test_other_encodings_are_not_known(encoding: str) -> None:
    with pytest.raises(KeyError):
        Unpacking(encoding)
