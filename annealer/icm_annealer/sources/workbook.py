"""Rows of Excel and OpenDocument workbooks. The library is optional and imported only here."""

from __future__ import annotations

import datetime
import importlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from icm_annealer.sources.delimited import column_names
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_client.text.distribution import install_hint

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The first bytes of zip archives (.xlsx, .ods), and of older workbooks (.xls)."""
MAX_BYTES = 1024**3
"""The library reads a sheet as a whole, which takes several times its unpacked size in memory."""


def is_workbook(head: bytes) -> bool:
    """Whether these first bytes may be a workbook's; other archives are refused when they are opened."""
    return head.startswith((ZIP, OLE))


def workbook_rows(file: BinaryIO, name: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of the only sheet that is not empty, as column -> value in JSON types. The columns are named by its
    first row, unless `columns` names them.

    Raises RequestError, also if several sheets hold cells.
    """
    _check(file, name)
    try:
        calamine = importlib.import_module("python_calamine")
    except ImportError:
        raise RequestError(
            f"{name}: a workbook needs the package python-calamine: {install_hint('data')}; or save it as CSV",
            code="missing_package",
        ) from None
    try:
        book = calamine.CalamineWorkbook.from_filelike(file)
        sheets = [(sheet, book.get_sheet_by_name(sheet)) for sheet in book.sheet_names]
    except Exception as error:  # the library's boundary
        raise RequestError(f"{name}: not a workbook ({' '.join(str(error).split())[:300]})", code="bad_data") from None
    filled = [(title, sheet) for title, sheet in sheets if sheet.height]
    if len(filled) > 1:
        titles = ", ".join(repr(title) for title, _ in filled[:10])
        raise RequestError(f"{name}: holds the sheets {titles}; save the one to read as a file of its own")
    names = list(columns)
    for _, sheet in filled:
        for number, cells in enumerate(sheet.iter_rows(), start=1 + (sheet.start[0] if sheet.start else 0)):
            values = [_plain(cell) for cell in cells]
            if all(value is None for value in values):
                continue
            where = f"{name}, row {number}"
            if not names:
                names = column_names(["" if value is None else str(value) for value in values], where)
            elif len(values) != len(names):
                raise RequestError(f"{where}: {len(values)} cells, where {len(names)} columns are named")
            else:
                yield Row(where, dict(zip(names, values, strict=True)))


def _check(file: BinaryIO, name: str) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(len(ZIP)) == ZIP:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except zipfile.BadZipFile as error:
            raise RequestError(f"{name}: a zip archive that is damaged ({error})", code="bad_data") from None
        if not {"[Content_Types].xml", "mimetype"} & {member.filename for member in members}:
            raise RequestError(
                f"{name}: a zip archive, and no workbook: unpack it and name the file inside", code="bad_data"
            )
        size = sum(member.file_size for member in members)
    if size > MAX_BYTES:
        raise RequestError(f"{name}: a workbook of more than {MAX_BYTES} bytes: save it as CSV")
    file.seek(0)


def _plain(value: Any) -> Any:
    """The cell in JSON types: whole numbers are integers, dates are text, and an empty cell is None."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return str(value)
    return None if value == "" else value
