"""Data files as rows, each with the place that errors name it by: JSON, CSV and TSV here, other formats in columnar."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.columnar import HUB, hub_rows, parquet_rows, saved_rows
from icm_client.errors import RequestError

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Also the most characters of a CSV cell, which may have several lines."""
MAX_LIST_BYTES = 256 * 1024 * 1024
"""A JSON list is read as a whole, into several times its size."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}


class Row(NamedTuple):
    """One row of a file, which need not be an object yet."""

    where: str
    value: Any


def read_rows(source: Path | str) -> Iterator[Row]:
    """The rows of a file, of a folder that `save_to_disk` wrote, or of `hf:owner/name[:config][:split]`.

    The name's ending tells CSV, TSV and Parquet; anything else is JSON, one object a line or a list of them.
    Empty CSV cells are None; other cells are text. Raises RequestError naming the file, and the row if there is one.
    """
    path = Path(source)
    if str(source).startswith(HUB):
        yield from _numbered(hub_rows(str(source)), str(source))
    elif path.is_dir():
        yield from _numbered(saved_rows(path), str(path))
    elif path.suffix.lower() == ".parquet":
        yield from _numbered(parquet_rows(path), str(path))
    else:
        try:
            yield from _csv_rows(path) if path.suffix.lower() in DELIMITERS else _json_rows(path)
        except OSError as error:
            raise RequestError(f"{path}: {error.strerror or error}", code="bad_data") from None


def _numbered(rows: Iterator[Any], source: str) -> Iterator[Row]:
    return (Row(f"{source}, row {number}", row) for number, row in enumerate(rows, start=1))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line with its place, decoded, its end kept."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise RequestError(f"{where}: longer than {MAX_LINE_BYTES} bytes", code="bad_data")
            try:
                yield where, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise RequestError(f"{where}: not UTF-8 (byte {error.start})", code="bad_data") from None


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        if file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            yield from _json_list(path)
            return
    for where, line in _lines(path):
        if line.strip():
            try:
                yield Row(where, json.loads(line))
            except (ValueError, RecursionError) as error:  # ValueError: also of numbers with thousands of digits
                raise RequestError(f"{where}: not valid JSON ({error})", code="bad_data") from None


def _json_list(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        content = file.read(MAX_LIST_BYTES + 1)
    if len(content) > MAX_LIST_BYTES:
        raise RequestError(
            f"{path}: a JSON list of more than {MAX_LIST_BYTES} bytes; write one object a line instead", code="bad_data"
        )
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path}: not valid JSON in UTF-8 ({error})", code="bad_data") from None
    del content
    yield from _numbered(iter(values), str(path))


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = (line for _, line in _lines(path))
    reader = csv.reader(lines, delimiter=DELIMITERS[path.suffix.lower()], strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for cells in reader:
            place, start = f"{path}, line {start}", reader.line_num + 1
            if not cells:
                continue  # a blank line
            if header is None:
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
        # An open quote swallows the lines behind it, so the row's first line is what helps.
        raise RequestError(
            f"{path}, line {start}: broken CSV ({error}; seen at line {reader.line_num})", code="bad_data"
        ) from None


def _check_header(header: list[str], place: str) -> None:
    twice = next((name for number, name in enumerate(header) if name in header[:number]), None)
    if twice is not None:
        raise RequestError(f"{place}: the header names the column {twice!r} twice", code="bad_data")
