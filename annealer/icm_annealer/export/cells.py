"""CSV whose cells no spreadsheet takes for formulas (https://owasp.org/www-community/attacks/CSV_Injection). A leaf.

Data come from anywhere, and a table is opened by whoever reviews it: a text that begins with an equals sign is
calculated there, and may send what stands beside it elsewhere.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")
"""What a cell begins with that would be calculated, and what such a cell is written as: so it can be told back."""
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def guarded(cell: Any) -> Any:
    """A text that would be calculated, with an apostrophe in front; anything else as it is, numbers too."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def write_cells(path: Path, rows: Iterable[Sequence[Any]], *, raw: bool) -> None:
    """A CSV in UTF-8, the header being the first row; `raw` leaves texts as they are."""
    with path.open("w", encoding="utf-8", newline="") as file:
        usual = csv.writer(file, lineterminator="\n")
        # The usual one puts no quotes around a carriage return, where readers then see the end of a row.
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        for row in rows:
            cells = row if raw else [guarded(cell) for cell in row]
            has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
            (quoting if has_return else usual).writerow(cells)
