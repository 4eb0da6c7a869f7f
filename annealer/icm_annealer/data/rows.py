"""Reads rows of any source, each with its place for errors: a file, a pipe, an address, or a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.data.columnar import HUB, hub_rows, parquet_rows, saved_rows
from icm_annealer.sources.byte_source import STANDARD_INPUT, ByteSource, name_of, opened
from icm_annealer.sources.delimited import delimited_rows
from icm_annealer.sources.dialect import Line
from icm_annealer.sources.download import SCHEMES, downloaded
from icm_annealer.sources.encoding import in_utf8, not_utf8
from icm_annealer.sources.json_text import parsed
from icm_annealer.sources.row import Fault, OnFault, Row, refuse
from icm_annealer.sources.workbook import is_workbook, workbook_rows
from icm_client.contract.errors import RequestError
from icm_client.http.address import shown
from icm_client.text.counts import counted

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_LIST_BYTES = 256 * 1024 * 1024
"""A JSON list is parsed as a whole, which takes several times its size in memory."""
TABLE_SUFFIXES = (".csv", ".tsv")
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
MARK = b"\xef\xbb\xbf"
REMOTE = (HUB, *SCHEMES)
"""How sources begin that are no paths."""


class ReadAs(NamedTuple):
    """How a source is read, as far as it does not say so itself."""

    columns: Sequence[str] = ()
    """The names of its columns, for a table whose first row does not name them."""
    encoding: str | None = None
    """Its text encoding, if that is neither UTF-8 nor UTF-16."""
    skip_bad: bool | None = None
    """Whether examples are made of the other rows if some are bad; None where that cannot be asked for. `read_rows`
    leaves it to `on_fault`."""


READ_AS_IT_IS = ReadAs()


class Rows(Iterator[Row]):
    """The rows of one source, in order, each once. Create it with `read_rows`."""

    def __init__(self, source: Path | str, report: Callable[[str], None] | None, read_as: ReadAs, on_fault: OnFault):
        self.num_rows = 0
        """The number of rows returned so far."""
        self.num_blank_lines = 0
        """The number of blank lines skipped so far."""
        self.has_header = False
        """Whether the first row of the table was read as the names of its columns."""
        self._read_as, self._on_fault = read_as, on_fault
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
        elif str(source).startswith(SCHEMES):
            url, report = str(source), self._report or (lambda _: None)
            with downloaded(url, report) as path, opened(path, shown(url)) as found:
                yield from self._read_format(found)
        elif source != STANDARD_INPUT and Path(source).is_dir():
            yield from _numbered(saved_rows(Path(source)), str(source))
        else:
            with opened(source) as found:
                yield from self._read_format(found)

    def _read_format(self, source: ByteSource) -> Iterator[Row]:
        if source.head.startswith(b"PAR1") or source.suffix == ".parquet":
            with source.seekable() as file:
                yield from _numbered(parquet_rows(file, source.name), source.name)
        elif is_workbook(source.head):
            self.has_header = not self._read_as.columns
            with source.seekable() as file:
                yield from workbook_rows(file, source.name, self._read_as.columns)
        else:
            yield from self._text_rows(in_utf8(source, self._read_as.encoding))

    def _text_rows(self, source: ByteSource) -> Iterator[Row]:
        form = self._text_format(source)
        if form in TABLE_SUFFIXES:
            columns = self._read_as.columns
            self.has_header = not columns
            yield from delimited_rows(
                self._lines(source), source.name, source.suffix, columns, self._on_fault, self._count_blank
            )
        elif source.head.removeprefix(MARK).lstrip().startswith(b"["):
            yield from _json_list(source)
        else:
            yield from self._json_rows(source)

    def _text_format(self, source: ByteSource) -> str:
        """A table's suffix, or any other text for JSON."""
        if source.suffix in (*TABLE_SUFFIXES, *JSON_SUFFIXES):
            return source.suffix
        if self._read_as.columns:
            return ".csv"
        text = source.head.removeprefix(MARK).lstrip()
        is_json = not text or text.startswith(b"{") or (text[:1] == b"[" and text[1:].lstrip()[:1] in b'{["]')
        return ".jsonl" if is_json else ".csv"

    def _json_rows(self, source: ByteSource) -> Iterator[Row]:
        for line in self._lines(source):
            if line.fault is not None:
                self._on_fault(line.fault)
            elif not line.text.strip():
                self._count_blank()
            else:
                where = f"{source.name}, line {line.number}"
                try:
                    row = Row(where, parsed(line.text))
                except ValueError as error:
                    self._on_fault(Fault(where, f"not valid JSON ({error})", "not valid JSON", line.text))
                else:
                    yield row

    def _lines(self, source: ByteSource) -> Iterator[Line]:
        """The decoded lines, with their line ends."""
        for number, line in enumerate(source.lines(MAX_LINE_BYTES), start=1):
            try:
                yield Line(number, line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                text = line.decode("latin-1")
                where = f"{source.name}, line {number}"
                yield Line(number, text, Fault(where, not_utf8(line, error.start), "not UTF-8", text))

    def _count_blank(self) -> None:
        self.num_blank_lines += 1


def read_rows(
    source: Path | str,
    report: Callable[[str], None] | None = None,
    *,
    read_as: ReadAs = READ_AS_IT_IS,
    on_fault: OnFault = refuse,
) -> Rows:
    """The rows of a file or pipe, of standard input (the text `-`), of an http(s) URL, of a folder that `save_to_disk`
    wrote, or of `hf:owner/name[:config][:split]`. A source is opened once and read once. `report` is called after every
    1,000 rows. `on_fault` is called for each bad row; by default, the first one raises RequestError.

    Parquet and workbooks are recognised by their first bytes. The suffix of the name, without a compression suffix,
    tells CSV and TSV from JSON; without one, the first bytes do. How a table is written (separator, quotes) is
    recognised from its first lines. JSON holds one object per line or a list of objects. Empty CSV cells are None;
    other cells are text. Iteration raises RequestError naming the source, and the row if there is one.
    """
    return Rows(source, report, read_as, on_fault)


def shown_source(source: Path | str) -> str:
    """The name of a source in messages; an address without its password."""
    return shown(str(source)) if str(source).startswith(SCHEMES) else name_of(source)


def counts_text(num_rows: int, num_blank_lines: int) -> str:
    """`200 rows read`, and the number of blank lines skipped, if any."""
    blank = f", {counted(num_blank_lines, 'blank line')} skipped" if num_blank_lines else ""
    return f"{counted(num_rows, 'row')} read{blank}"


def _numbered(rows: Iterator[Any], source: str) -> Iterator[Row]:
    return (Row(f"{source}, row {number}", row) for number, row in enumerate(rows, start=1))


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
