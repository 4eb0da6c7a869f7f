"""Rows are read without loss for every format, compression, line end, and chunking of a pipe."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import itertools
import json
import lzma
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pipes import piped

from icm_annealer.data.rows import MAX_LINE_BYTES, read_rows
from icm_annealer.sources.byte_source import CHUNK_BYTES, HEAD_BYTES, ByteSource, opened
from icm_client import RequestError

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
FORMATS = [".jsonl", ".json", ".csv", ".tsv", ".parquet"]
ODD = st.sampled_from(["\u2028", "\x85", "\x0b", "\x1c", "\0", "\r", "\n", "\r\n", "\ufeff", '"', ",", "\t", "=1+1"])
LONG = st.integers(1, 200_000).map(lambda num: "ß" * num)
TEXT = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | ODD, max_size=4).map("".join) | LONG
TABLES = st.lists(
    st.fixed_dictionaries({"id": st.integers().map(str), "text": TEXT.map(lambda t: f"x{t}")}), max_size=8
)


@contextlib.contextmanager
def as_standard_input(content: bytes) -> Iterator[str]:
    before = os.dup(0)
    try:
        with piped(content, [100_000]) as path:
            os.dup2(int(path.rpartition("/")[2]), 0)
            yield "-"
    finally:
        os.dup2(before, 0)
        os.close(before)


def written(rows: list[dict[str, Any]], form: str, end: str, *, ends: bool) -> bytes:
    """The rows as a file; without the last line's end, if it is not to have one."""
    if form == ".parquet":
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows or [{"id": "0", "text": "x"}]), file)
        return file.getvalue()
    if form == ".json":
        return json.dumps(rows, ensure_ascii=False).encode()
    if form == ".jsonl":
        content = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)
    else:
        table = io.StringIO(newline="")
        writer = csv.writer(table, delimiter="\t" if form == ".tsv" else ",", lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([["id", "text"], *([row["id"], row["text"]] for row in rows)])
        content = table.getvalue()
    return (content if ends else content.removesuffix(end)).encode()


def values(source: Path | str) -> list[Any]:
    return [row.value for row in read_rows(source)]


@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("form", FORMATS)
@given(
    rows=TABLES,
    packing=st.sampled_from(list(PACKINGS)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    ends=st.booleans(),
    mark=st.booleans(),
    sizes=st.lists(st.integers(1, 3) | st.integers(1, 100_000), min_size=1, max_size=3).map(lambda s: [*s, 65_536]),
)
def test_rows_in_are_rows_out(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    rows: list[dict[str, Any]],
    packing: str,
    end: str,
    ends: bool,
    mark: bool,
    sizes: list[int],
) -> None:
    content = written(rows, form, end, ends=ends)
    expected = (rows or [{"id": "0", "text": "x"}]) if form == ".parquet" else rows
    if mark and form != ".parquet":
        content = b"\xef\xbb\xbf" + content
    packed = PACKINGS[packing](content)
    path = tmp_path_factory.mktemp("source") / f"rows{form}{packing}"
    path.write_bytes(packed)
    assert values(path) == expected
    if form != ".tsv" or rows:  # a pipe has no name, and a header alone is of any kind
        with piped(packed, sizes) as pipe:
            assert values(pipe) == expected


@pytest.mark.parametrize("packing", PACKINGS)
def test_two_hundred_rows_from_standard_input(packing: str) -> None:
    """As many as one reading ahead takes away where a source is opened a second time."""
    rows = [{"id": str(number), "text": "x" * 100} for number in range(200)]
    with as_standard_input(PACKINGS[packing](written(rows, ".jsonl", "\n", ends=True))) as source:
        assert values(source) == rows


def test_a_named_pipe(tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": "x"} for number in range(5000)]
    fifo = tmp_path / "rows.csv"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(written(rows, ".csv", "\n", ends=True)))
    writer.start()
    assert values(fifo) == rows
    writer.join()


def test_a_pipe_that_has_nothing_yet_is_waited_for() -> None:
    """Some programs hand on pipes that do not wait, in which "nothing yet" looks like the end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    before = os.dup(0)
    os.dup2(reading, 0)
    late = threading.Timer(0.2, lambda: (os.write(writing, b'{"a": 2}\n'), os.close(writing)))
    try:
        os.write(writing, b'{"a": 1}\n')
        late.start()
        assert values("-") == [{"a": 1}, {"a": 2}]
    finally:
        late.join()
        os.dup2(before, 0)
        os.close(before)
        os.close(reading)


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
def test_packed_members_behind_each_other(tmp_path: Path, packing: str) -> None:
    pack = PACKINGS[packing]
    path = tmp_path / f"rows.jsonl{packing}"
    path.write_bytes(pack(b'{"a": 1}\n{"a"') + pack(b"") + pack(b': 2}\n{"a": 3}') + b"\0" * 64)
    assert values(path) == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
def test_packed_data_that_lost_something_are_reported(tmp_path: Path, packing: str) -> None:
    """However they lost it: rows behind the damage would be missing in silence."""
    lines = b"".join(b'{"a": %d}\n' % number for number in range(2000))
    packed = PACKINGS[packing](lines)
    path = tmp_path / f"rows.jsonl{packing}"
    for content in (packed[: len(packed) // 2], packed[:-1], packed + b"something else", packed + packed[:20]):
        path.write_bytes(content)
        with pytest.raises(RequestError, match=rf"{path}: (damaged|the) \w+ data") as raised:
            values(path)
        assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("content", "blank"),
    [(b"\n\n" + b'{"a": 1}\n\n{"a": 2}\n  \n', 4), (b'{"a": 1}\r\r{"a": 2}', 1), (b"a\n\n1\n\n\n2\n", 3)],
)
def test_blank_lines_are_counted(tmp_path: Path, content: bytes, blank: int) -> None:
    (tmp_path / "rows").write_bytes(content)
    rows = read_rows(tmp_path / "rows")
    assert [int(row.value["a"]) for row in rows] == [1, 2]
    assert (rows.num_rows, rows.num_blank_lines) == (2, blank)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.jsonl", b'{"a": 1}\n{"a": ', "line 2: not valid JSON"),
        ("rows.jsonl", b'{"a": "' + b"x" * MAX_LINE_BYTES, f"line 1: longer than {MAX_LINE_BYTES} bytes"),
        ("rows.jsonl", b'{"a": 1}\n' + b"[" * 100_000, "line 2: not valid JSON (nested deeper than 100)"),
        ("rows.jsonl", b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}", "line 1: not valid JSON (nested deeper than 100)"),
        ("rows.jsonl", b'{"a": 1}\n{"a": "\\ud800"}', "line 2: not valid JSON (holds half of a surrogate pair"),
        ("rows.json", b'[{"a": 1}, {"a": ' + b"9" * 5000 + b"}]", "not valid JSON"),
        ("rows.csv", b"a,b\n1,2\n3", "line 3: 1 cells"),
        ("rows.jsonl", b"PK\x03\x04rest", "a zip archive"),
    ],
)
def test_what_cannot_be_read_to_its_end_is_reported(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with piped(content, [1000]) as pipe, pytest.raises(RequestError):
        values(pipe)
    with pytest.raises(RequestError) as raised:
        values(tmp_path / name)
    assert says in raised.value.message
    assert raised.value.message.startswith(f"{tmp_path / name}")
    assert "\n" not in raised.value.message


@given(st.binary(max_size=400), st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_lines_are_the_bytes(content: bytes, sizes: list[int]) -> None:
    with piped(b" " + content, sizes) as pipe, opened(pipe) as source:
        lines = list(source.lines(1000))
    assert b"".join(lines) == b" " + content
    assert lines == (b" " + content).splitlines(keepends=True)


def test_a_long_line_is_joined_once_however_many_pieces_it_comes_in() -> None:
    """Each of these, joined to what had come before, would copy all of that again: this would take minutes."""
    source = ByteSource("rows", "", (b"x" for _ in range(2**20)), None)
    assert list(source.lines(2**20)) == [b"x" * 2**20]
    endless = ByteSource("rows", "", itertools.repeat(b"x"), None)
    with pytest.raises(RequestError, match="line 1: longer than 10000 bytes"):
        list(endless.lines(10_000))


@pytest.mark.parametrize(
    "packing", [pytest.param(".bz2", marks=pytest.mark.slow), pytest.param(".xz", marks=pytest.mark.slow), ".zst"]
)
def test_what_is_packed_a_thousandfold_comes_in_pieces(tmp_path: Path, packing: str) -> None:
    """All of it at once would be an object a line: gigabytes, of a few bytes."""
    (tmp_path / "rows").write_bytes(PACKINGS[packing](b"a\n" * 2**20))
    with opened(tmp_path / "rows") as source:
        assert len(source.head) < HEAD_BYTES + CHUNK_BYTES
        assert list(source.lines(10)) == [b"a\n"] * 2**20
