"""Reads data as rows, each with its location for errors: JSON, CSV and TSV here, other formats in `columnar`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.data.byte_source import STANDARD_INPUT, ByteSource, opened
from icm_annealer.data.columnar import HUB, hub_rows, parquet_rows, saved_rows
from icm_annealer.data.json_text import parsed
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Also the most characters of a CSV cell, which may span several lines."""
MAX_LIST_BYTES = 256 * 1024 * 1024
"""A JSON list is parsed as a whole, which takes several times its size in memory."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
MARK = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One row of a source. The value may not be an object."""

    where: str
    value: Any


class Rows(Iterator[Row]):
    """The rows of one source, in order, each once. Create it with `read_rows`."""

    def __init__(self, source: Path | str, report: Callable[[str], None] | None):
        self.num_rows = 0
        """The number of rows returned so far."""
        self.num_blank_lines = 0
        """The number of blank lines skipped so far."""
        self._rows, self._report = self._read(source), report

    def __next__(self) -> Row:
        row = next(self._rows)
        self.num_rows += 1
        if self._report is not None and self.num_rows % 1000 == 0:
            self._report(f"{self.num_rows:,} rows read")
        return row

    def _read(self, source: Path | str) -> Iterator[Row]:
        if str(source).startswith(HUB):
            yield from _numbered(hub_rows(str(source)), str(source))
        elif source != STANDARD_INPUT and Path(source).is_dir():
            yield from _numbered(saved_rows(Path(source)), str(source))
        else:
            with opened(source) as found:
                yield from self._read_format(found)

    def _read_format(self, source: ByteSource) -> Iterator[Row]:
        form = _format(source)
        if form == ".parquet":
            with source.seekable() as file:
                yield from _numbered(parquet_rows(file, source.name), source.name)
        elif form in DELIMITERS:
            yield from self._csv_rows(source, DELIMITERS[form])
        elif source.head.removeprefix(MARK).lstrip().startswith(b"["):
            yield from _json_list(source)
        else:
            yield from self._json_rows(source)

    def _json_rows(self, source: ByteSource) -> Iterator[Row]:
        for where, line in _lines(source):
            if not line.strip():
                self.num_blank_lines += 1
                continue
            try:
                yield Row(where, parsed(line))
            except ValueError as error:
                raise RequestError(f"{where}: not valid JSON ({error})", code="bad_data") from None

    def _csv_rows(self, source: ByteSource, delimiter: str) -> Iterator[Row]:
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader((line for _, line in _lines(source)), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        start = 1
        try:
            for cells in reader:
                place, start = f"{source.name}, line {start}", reader.line_num + 1
                if not cells:
                    self.num_blank_lines += 1
                elif header is None:
                    header = [cell.strip() for cell in cells]
                    _check_header(header, place)
                elif len(cells) != len(header):
                    raise RequestError(
                        f"{place}: {len(cells)} cells, where the header has {len(header)}; "
                        "is a quote missing around a cell that holds a separator?",
                        code="bad_data",
                    )
                else:
                    yield Row(place, {name: cell or None for name, cell in zip(header, cells, strict=True)})
        except csv.Error as error:
            # An open quote swallows the following lines, so the row's first line is reported.
            raise RequestError(
                f"{source.name}, line {start}: broken CSV ({error}; seen at line {reader.line_num})", code="bad_data"
            ) from None


def read_rows(source: Path | str, report: Callable[[str], None] | None = None) -> Rows:
    """The rows of a file or pipe, of standard input (the text `-`), of a folder that `save_to_disk` wrote, or of
    `hf:owner/name[:config][:split]`. A source is opened once and read once. `report` is called after every 1,000 rows.

    The suffix of the name, without a compression suffix, determines CSV, TSV, JSON or Parquet; otherwise the first
    bytes do. JSON holds one object per line or a list of objects. Empty CSV cells are None; other cells are text.
    Iteration raises RequestError naming the source, and the row if there is one.
    """
    return Rows(source, report)


def counts_text(num_rows: int, num_blank_lines: int) -> str:
    """`200 rows read`, and the number of blank lines skipped, if any."""
    blank = f", {counted(num_blank_lines, 'blank line')} skipped" if num_blank_lines else ""
    return f"{counted(num_rows, 'row')} read{blank}"


def _format(source: ByteSource) -> str:
    """One of DELIMITERS, `.parquet`, or any other text for JSON."""
    if source.suffix in DELIMITERS or source.suffix in JSON_SUFFIXES or source.suffix == ".parquet":
        return source.suffix
    if source.head.startswith(b"PAR1"):
        return ".parquet"
    text = source.head.removeprefix(MARK).lstrip()
    if not text or text.startswith((b"{", b"[")):
        return ".jsonl"
    return ".tsv" if b"\t" in text.splitlines()[0] else ".csv"


def _numbered(rows: Iterator[Any], source: str) -> Iterator[Row]:
    return (Row(f"{source}, row {number}", row) for number, row in enumerate(rows, start=1))


def _lines(source: ByteSource) -> Iterator[tuple[str, str]]:
    """The decoded lines, with their line ends, each with its location."""
    for number, line in enumerate(source.lines(MAX_LINE_BYTES), start=1):
        where = f"{source.name}, line {number}"
        try:
            yield where, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(f"{where}: not UTF-8 (byte {error.start})", code="bad_data") from None


def _json_list(source: ByteSource) -> Iterator[Row]:
    content = source.content(MAX_LIST_BYTES)
    if content is None:
        raise RequestError(
            f"{source.name}: a JSON list of more than {MAX_LIST_BYTES} bytes; write one object a line instead",
            code="bad_data",
        )
    try:
        values = parsed(content.decode("utf-8-sig"))
    except ValueError as error:
        raise RequestError(f"{source.name}: not valid JSON in UTF-8 ({error})", code="bad_data") from None
    del content
    yield from _numbered(iter(values), source.name)


def _check_header(header: list[str], place: str) -> None:
    twice = next((name for number, name in enumerate(header) if name in header[:number]), None)
    if twice is not None:
        raise RequestError(f"{place}: the header names the column {twice!r} twice", code="bad_data")
