"""The journal of an extension and the files of rows that it vouches for: appended chunk by chunk, resumed anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import pydantic
from pydantic import Field, TypeAdapter

from icm_annealer.runs.schema.base import Record, versioned
from icm_annealer.runs.schema.extension import CalibrationLine, ChunkLine, ExtensionHeader
from icm_client.contract.errors import RequestError
from icm_client.text.validation import first_error

JOURNAL, LABELS, UNLIKE = "extend.jsonl", "labels.jsonl", "unlike.jsonl"
METRICS, CHECK, SKIPPED, REPORT = "extend.json", "check", "skipped.jsonl", "report.html"
ROWS = "rows.jsonl"
"""The data, if they were in memory."""
OUR_FILES = (JOURNAL, LABELS, UNLIKE, METRICS, SKIPPED, REPORT, ROWS, "costs.jsonl")

Line = CalibrationLine | ChunkLine
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


class ExtensionJournal:
    """The journal, `labels.jsonl` and `unlike.jsonl` of one folder, open for appending.

    A chunk's rows are on the disk before its line is. What follows the last whole line, in any of the files, was being
    written when the process ended, and is removed.
    """

    def __init__(self, folder: Path, header: ExtensionHeader, lines: Sequence[Line], size: int):
        self.folder, self.header = folder, header
        self.calibration = next((line for line in lines if isinstance(line, CalibrationLine)), None)
        self.chunks = [line for line in lines if isinstance(line, ChunkLine)]
        """The chunks that are labelled, in order."""
        last = self.chunks[-1] if self.chunks else None
        self._journal = _appending(folder / JOURNAL, size)
        self._labels = _appending(folder / LABELS, last.labels_end if last else 0)
        self._unlike = _appending(folder / UNLIKE, last.unlike_end if last else 0)

    @classmethod
    def begin(cls, folder: Path, header: ExtensionHeader) -> ExtensionJournal:
        """A new journal in place of any other."""
        journal = cls(folder, header, [], 0)
        journal._write(header)
        return journal

    @classmethod
    def resume(cls, folder: Path) -> ExtensionJournal | None:
        """The journal of an extension that was begun; None if it has no whole line. Raises RequestError if it is
        damaged."""
        read = read_journal(folder)
        return None if read is None else cls(folder, *read)

    def write_calibration(self, line: CalibrationLine) -> None:
        self.calibration = line
        self._write(line)

    def write_chunk(self, labels: Sequence[bytes], unlike: Sequence[bytes], **figures: Any) -> ChunkLine:
        """Appends the rows of a chunk, JSON without line ends, and then its line."""
        for file, rows in ((self._labels, labels), (self._unlike, unlike)):
            self._append(file, b"".join(row + b"\n" for row in rows))
        line = ChunkLine(labels_end=self._labels.tell(), unlike_end=self._unlike.tell(), **figures)
        self._write(line)
        self.chunks.append(line)
        return line

    def close(self) -> None:
        for file in (self._journal, self._labels, self._unlike):
            file.close()

    def _write(self, line: Record) -> None:
        self._append(self._journal, line.model_dump_json().encode() + b"\n")

    def _append(self, file: BinaryIO, content: bytes) -> None:
        if not content:
            return
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise RequestError(
                f"cannot write {self.folder} ({error.strerror}); what it holds is valid: make room and use --resume",
                code="journal",
            ) from None


def read_journal(folder: Path) -> tuple[ExtensionHeader, list[Line], int] | None:
    """The header, the lines behind it, and their bytes; None without a whole line. Raises RequestError naming a damaged
    line."""
    path = folder / JOURNAL
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}", code="journal") from None
    size = content.rfind(b"\n") + 1
    first, *others = content[:size].split(b"\n")[:-1] or [b""]
    if not size:
        return None
    try:
        header = versioned(ExtensionHeader, first, str(path))
    except ValueError as error:
        raise RequestError(f"{path}, line 1: {error}; the file was changed or damaged", code="journal") from None
    lines: list[Line] = []
    for number, line in enumerate(others, start=2):
        try:
            lines.append(_LINE.validate_json(line))
        except pydantic.ValidationError as error:
            raise RequestError(
                f"{path}, line {number}: {first_error(error)}; the file was changed or damaged. Cut it to its first "
                f"{number - 1} lines, and --resume goes on from there",
                code="journal",
            ) from None
    return header, lines, size


def _appending(path: Path, size: int) -> BinaryIO:
    """The file at `path`, cut to its first bytes. Raises RequestError if it has fewer."""
    file = path.open("r+b" if path.exists() else "w+b")
    if file.seek(0, os.SEEK_END) < size:
        raise RequestError(
            f"{path} is shorter than {path.parent / JOURNAL} says: it was changed; begin again with --overwrite",
            code="journal",
        )
    file.truncate(size)
    file.seek(size)
    return file
