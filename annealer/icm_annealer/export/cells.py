"""CSV without formula injection (https://owasp.org/www-community/attacks/CSV_Injection). A leaf.

Data are untrusted, and reviewers open tables in spreadsheets, where a text that begins with an equals sign is evaluated
and may send other cells elsewhere.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")
"""Texts that would be evaluated, or that start with apostrophes before such a text: so the guard can be removed."""
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def guarded(cell: Any) -> Any:
    """Adds an apostrophe before a text that would be evaluated; other values, such as numbers, are unchanged."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def write_cells(path: Path, rows: Iterable[Sequence[Any]], *, raw: bool) -> None:
    """A CSV in UTF-8, the header being the first row; `raw` leaves texts as they are."""
    with path.open("w", encoding="utf-8", newline="") as file:
        usual = csv.writer(file, lineterminator="\n")
        # The default dialect does not quote a carriage return, which readers take for the end of a row.
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        for row in rows:
            cells = row if raw else [guarded(cell) for cell in row]
            has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
            (quoting if has_return else usual).writerow(cells)
