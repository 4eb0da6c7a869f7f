"""Rows of CSV and TSV files, each with the line that it begins at."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from icm_annealer.sources.dialect import Cells, Line, sniffed, table_rows
from icm_annealer.sources.row import Fault, OnFault, Row
from icm_client.contract.errors import RequestError

SNIFFED_CHARS = 1024 * 1024
"""The dialect is recognised from about this many characters."""


def delimited_rows(
    lines: Iterator[Line],
    name: str,
    suffix: str,
    columns: Sequence[str],
    on_fault: OnFault,
    on_blank: Callable[[], None],
) -> Iterator[Row]:
    """The rows as column -> cell, None for an empty cell. The columns are named by the first row, unless `columns`
    names them.

    `on_blank` is called for every blank line. Raises RequestError for a header that does not name columns.
    """
    first = _first(lines)
    following = list(itertools.islice(lines, 1))
    dialect = sniffed(first, suffix, is_whole=not following)
    rows = table_rows(itertools.chain(first, following, lines), dialect)
    yield from _named(rows, name, columns, on_fault, on_blank)


def check_columns(names: Sequence[str]) -> None:
    """Raises ValueError unless every column has a name of its own."""
    if not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise ValueError(f"columns: every column needs a name of its own, not {', '.join(names)!r}")


def column_names(cells: Sequence[str], where: str) -> list[str]:
    """The columns that a header names; those without a name are numbered. Raises RequestError if one is named
    twice."""
    names = [cell.strip() or f"column {number}" for number, cell in enumerate(cells, start=1)]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise RequestError(
            f"{where}: the header names the column {twice!r} twice; if it is none, name the columns (--columns, or "
            "`columns` in the task)",
            code="bad_data",
        )
    return names


def _first(lines: Iterator[Line]) -> list[Line]:
    found: list[Line] = []
    left = SNIFFED_CHARS
    while left > 0 and (line := next(lines, None)) is not None:
        found.append(line)
        left -= len(line.text)
    return found


def _named(
    rows: Iterator[Cells], name: str, columns: Sequence[str], on_fault: OnFault, on_blank: Callable[[], None]
) -> Iterator[Row]:
    names = list(columns)
    for row in rows:
        where = f"{name}, line {row.line}"
        if row.fault is not None:
            on_fault(row.fault)
        elif row.broken:
            on_fault(Fault(where, f"broken CSV ({row.broken})", "broken CSV", row.cells[0]))
        elif not row.cells or (row.is_blank and len(names) != 1):
            on_blank()
        elif not names:
            names = column_names(row.cells, where)
        elif len(row.cells) != len(names):
            on_fault(_uneven(where, row.cells, len(names), has_header=not columns))
        elif columns and row.cells == names:
            raise RequestError(
                f"{where}: names the columns itself: leave out --columns, or `columns` in the task", code="bad_data"
            )
        else:
            yield Row(where, {name: cell or None for name, cell in zip(names, row.cells, strict=True)})


def _uneven(where: str, cells: list[str], num: int, *, has_header: bool) -> Fault:
    if has_header:
        what = f"{len(cells)} cells, where the header has {num}"
        return Fault(
            where,
            f"{what}; is a quote missing around a cell that holds a separator?",
            "more or fewer cells than the header",
            cells,
        )
    return Fault(where, f"{len(cells)} cells, where {num} columns are named", "more or fewer cells than columns", cells)
