"""One run under review: its rows as people see them, and what they decide about them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from icm_annealer.reviewing.queries import Query, numbers_of
from icm_annealer.runs.directory import JOURNAL, LABELS
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import Record
from icm_annealer.runs.schema.review import Decision
from icm_annealer.runs.schema.rows import LabelRow
from icm_client.contract.errors import RequestError


class Choice(Record):
    """A person's choice for one row."""

    number: int
    """The row's place in the run, from 0 on."""
    label: str | None
    """None takes earlier decisions back."""
    revision: str
    """The row's revision that the person saw."""


class ReviewedRow(NamedTuple):
    """A row, with what people decided."""

    number: int
    text: str
    row: LabelRow
    in_file: str
    """The row's label in `labels.jsonl`."""
    revision: str
    """Changes whenever the row's label or decision may have changed."""


class Outcome(NamedTuple):
    """Whether a choice was saved, and the row as it now is: if not, another label was decided meanwhile."""

    is_saved: bool
    row: ReviewedRow


class Review:
    """The rows of a finished run, read again whenever its files change. Thread-safe; several processes may review the
    same run.

    All methods raise RequestError if the run's files cannot be read, or if it was replaced by another run.
    """

    def __init__(self, folder: Path):
        record = RunRecord.read(folder)
        self.folder, self._header = folder, record.header
        self._texts = [example.text for example in record.examples()]
        self._lock = threading.Lock()
        self._file = record.review()
        self._stamp: object = None
        self._file_rows: list[LabelRow] = []
        self._rows: list[LabelRow] = []
        self._merged: dict[str, Decision] = {}
        self._numbers = {name: number for number, name in enumerate(record.ids)}
        self.rows()

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def label_names(self) -> list[str]:
        return self._header.task.label_names

    @property
    def title(self) -> str:
        return self._header.task.title or self._header.task.name

    def rows(self) -> list[LabelRow]:
        """The rows in order, with the labels that people decided."""
        with self._lock:
            return self._read()

    def numbers(self, query: Query) -> list[int]:
        """The numbers of the rows that a query asks for, in its order. Raises RequestError for an unknown name."""
        return numbers_of(query, self.rows(), self._texts)

    def shown(self, number: int) -> ReviewedRow:
        """Raises RequestError if there is no such row."""
        with self._lock:
            return self._shown(number, self._read())

    def decide(self, choice: Choice) -> Outcome:
        """Writes the choice to the disk, unless the row is no longer as the person saw it. Raises RequestError if there
        is no such row or label, or if it cannot be written."""
        if choice.label is not None and choice.label not in self._header.task.labels:
            raise RequestError(f"{choice.label!r} is none of {', '.join(self.label_names)}")
        with self._lock:
            before = self._shown(choice.number, self._read())
            decided = before.row.decision.label if before.row.decision else None
            if choice.label == decided and not before.row.is_superseded:
                return Outcome(True, before)  # its answer was lost, or another window decided the same
            decision = Decision(id=before.row.id, label=choice.label, was=before.in_file)
            is_saved = choice.revision == before.revision and self._file.append(
                decision, self._file.num_of(before.row.id)
            )
            return Outcome(is_saved, self._shown(choice.number, self._read()))

    def _read(self) -> list[LabelRow]:
        stamp = [_stamp(self.folder / name) for name in (JOURNAL, LABELS)]
        if stamp != self._stamp:
            record = RunRecord.read(self.folder)
            if record.header != self._header:
                raise RequestError(f"{self.folder} holds another run now: start `icm review` again", code="bad_run")
            self._file_rows, self._stamp = record.file_rows(), stamp
            self._rows, self._merged = list(self._file_rows), {}
        decisions = self._file.read()
        for name in {*self._merged, *decisions}:
            decision = decisions.get(name)
            if decision is not self._merged.get(name):  # only what is new, since there may be many
                number = self._numbers[name]
                row = self._file_rows[number]
                self._rows[number] = row.with_decision(decision) if decision else row
        self._merged = decisions
        return list(self._rows)

    def _shown(self, number: int, rows: list[LabelRow]) -> ReviewedRow:
        if not 0 <= number < len(rows):
            raise RequestError(f"there is no row {number}: there are {len(rows):,}")
        row, in_file = rows[number], self._file_rows[number].label
        revision = f"{self._file.num_of(row.id)} {in_file}"
        return ReviewedRow(number, self._texts[number], row, in_file, revision)


def _stamp(path: Path) -> object:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns
