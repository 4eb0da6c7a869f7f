"""How a CSV file is written: the separator and the quotes, recognised from its first lines.

Python's csv reads the cells, since it says where a quote is broken, and reading can go on behind it. DuckDB's reader
recognises the dialects of clean tables as well, but loses or changes other rows around a broken quote, and names no
lines.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from icm_annealer.sources.row import Fault

MAX_CELL_CHARS = 4 * 1024 * 1024
"""A cell may span several lines."""
SEPARATORS = {".csv": ",", ".tsv": "\t", "": ";", " ": "|"}
"""Separators in order of preference, by the suffix that a file with it has."""
MAX_CELL_LINES = 100
"""A quote that is open at the end of the first lines may be closed later, if it was opened within this many lines."""
MIN_EVEN = 0.5
"""The least share of rows with as many cells as the first, for a separator to be one."""


@dataclass(frozen=True)
class Dialect:
    """One way to write a table as text."""

    separator: str
    quote: str | None = '"'
    """None if quotes are ordinary characters."""
    is_doubled: bool = True
    """Whether a quote within a quoted cell is doubled; otherwise a backslash precedes it."""
    has_spaces: bool = False
    """Whether spaces around cells only align them."""

    def reader(self, lines: Iterable[str]) -> Any:
        """A csv.reader of these lines."""
        return csv.reader(
            lines,
            delimiter=self.separator,
            quotechar=self.quote,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            doublequote=self.is_doubled,
            escapechar=None if self.is_doubled or not self.quote else "\\",
            skipinitialspace=self.has_spaces,
            strict=True,
        )


class Line(NamedTuple):
    """One line of a text, with its line end."""

    number: int
    text: str
    fault: Fault | None = None
    """Why the line cannot be decoded."""


class Cells(NamedTuple):
    """One row of a table, or why it is none."""

    line: int
    """The number of its first line."""
    cells: list[str]
    broken: str = ""
    """Why the row cannot be read; `cells` then holds its first line."""
    fault: Fault | None = None
    """Why its line cannot be decoded."""

    @property
    def is_blank(self) -> bool:
        return not self.cells or (len(self.cells) == 1 and not self.cells[0].strip())


class _Undecodable(Exception):  # noqa: N818 (caught here)
    """A line that cannot be decoded was reached."""


class _Feed(Iterator[str]):
    """Lines for a csv.reader; those of a row that turns out to be broken can be read again."""

    def __init__(self, lines: Iterator[Line]):
        self._lines, self._again = lines, deque[Line]()
        self.taken: list[Line] = []
        """The lines of the current row."""

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        if line.fault is not None:
            raise _Undecodable
        return line.text

    def go_back(self) -> None:
        """To the second line of the current row."""
        self._again.extendleft(reversed(self.taken[1:]))


def table_rows(lines: Iterator[Line], dialect: Dialect) -> Iterator[Cells]:
    """The rows of a table. Behind a broken row, reading goes on at the row's second line, since a quote that is never
    closed swallows all lines up to the next quote; so hardly a line is read more than twice."""
    csv.field_size_limit(MAX_CELL_CHARS)
    feed = _Feed(lines)
    reader = dialect.reader(feed)
    while True:
        feed.taken = []
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _Undecodable:
            first, *inside = feed.taken
            if inside:
                yield Cells(first.number, [first.text], f"line {inside[-1].number} of it cannot be decoded")
                feed.go_back()
            else:
                yield Cells(first.number, [first.text], fault=first.fault)
            reader = dialect.reader(feed)
        except csv.Error as error:
            first, last = feed.taken[0], feed.taken[-1]
            yield Cells(first.number, [first.text], f"{error}; seen at line {last.number}")
            feed.go_back()
            reader = dialect.reader(feed)
        else:
            if dialect.has_spaces:
                cells = [cell.strip() for cell in cells]
            yield Cells(feed.taken[0].number, cells)


def sniffed(lines: Sequence[Line], suffix: str, *, is_whole: bool) -> Dialect:
    """The dialect in which most of these lines, a table's first, have as many cells as the first one. `is_whole` says
    that no lines follow.

    Where several do equally well, the separator that the suffix stands for is chosen, and quotes quote. They are
    ordinary characters only if all rows are even with them, and no cell looks as if a program had quoted it.
    """
    candidates = list(_candidates(lines, suffix, is_whole))
    best = max(candidates, key=lambda found: found.score)
    has_spaces = any(cell != cell.strip() for cell in best.header[1:])
    return replace(best.dialect, has_spaces=has_spaces)


class _Candidate(NamedTuple):
    dialect: Dialect
    header: list[str]
    score: tuple[bool, float, bool, int]
    """Whether it is a table of several columns, the share of even rows, whether the separator is the usual one, and
    the number of columns."""


def _candidates(lines: Sequence[Line], suffix: str, is_whole: bool) -> Iterator[_Candidate]:
    usual = SEPARATORS.get(suffix, ",")
    first = next((line.text for line in lines if line.text.strip()), "")
    has_backslashes = any('\\"' in line.text for line in lines)
    for separator in dict.fromkeys([usual, *SEPARATORS.values()]):
        if separator != usual and separator not in first:
            continue
        is_usual = separator == usual
        yield _candidate(Dialect(separator), lines, is_usual, is_whole)
        if has_backslashes:
            yield _candidate(Dialect(separator, is_doubled=False), lines, is_usual, is_whole)
        if all(_is_wrapped(cell, "'") for cell in first.strip().split(separator)):
            yield _candidate(Dialect(separator, "'"), lines, is_usual, is_whole)
        plain = Dialect(separator, None)
        rows = [row.cells for row in table_rows(iter(lines), plain) if not row.is_blank]
        is_even = all(len(cells) == len(rows[0]) for cells in rows)
        if is_even and not any(_is_quoted(cell) for cells in rows for cell in cells):
            yield _candidate(plain, lines, is_usual, is_whole)


def _candidate(dialect: Dialect, lines: Sequence[Line], is_usual: bool, is_whole: bool) -> _Candidate:
    header: list[str] | None = None
    num = num_even = 0
    for row in table_rows(iter(lines), dialect):
        if row.broken and not is_whole and row.line > lines[-1].number - MAX_CELL_LINES:
            break  # the cell may end behind these lines
        if not row.is_blank:
            header = header or row.cells
            num += 1
            num_even += len(row.cells) == len(header) and not row.broken
    header, even = header or [], num_even / max(1, num)
    return _Candidate(dialect, header, (len(header) > 1 and even >= MIN_EVEN, even, is_usual, len(header)))


def _is_wrapped(cell: str, quote: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == quote


def _is_quoted(cell: str) -> bool:
    """Whether a program wrote quotes around the cell: it doubled those inside."""
    cell = cell.strip()
    return _is_wrapped(cell, '"') and '""' in cell[1:-1]
