"""Rows of a run as lines of text, or for JSON: which labels are least certain, or differ from another run's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.cells import cell_len

from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.rows import LabelRow
from icm_client.contract.errors import RequestError
from icm_client.text.visible import visible


class ListedRow(NamedTuple):
    """A row with its text, and its label in another run."""

    row: LabelRow
    text: str
    other: str | None

    @property
    def decided(self) -> str:
        """What a person did; empty if nobody has decided the label."""
        if self.row.known:
            return "known"
        return "changed" if self.row.is_changed else "accepted" if self.row.is_accepted else ""

    def to_dict(self) -> dict[str, Any]:
        """The form for JSON."""
        values: dict[str, Any] = {
            "id": self.row.id,
            "text": self.text,
            "label": self.row.label,
            "certainty": self.row.certainty,
            "found": self.row.found,
            "decided": self.decided or None,
            "group": self.row.group,
        }
        return values | ({} if self.other is None else {"other": self.other})


@dataclass(frozen=True)
class RowFilter:
    """Which rows to list."""

    label: str | None = None
    """Only rows with this label."""
    num_least_certain: int | None = None
    """Only so many, the least certain first; None keeps all, in the run's order."""
    differs_from: Path | None = None
    """Only rows whose label is another in this run."""


def listed_rows(folder: Path, asked: RowFilter) -> list[ListedRow]:
    """Raises RequestError if a run cannot be read, if there is no such label, or if the runs share no example."""
    record = RunRecord.read(folder)
    others = _labels(asked.differs_from, record) if asked.differs_from else None
    if asked.label is not None and asked.label not in record.task.labels:
        raise RequestError(f"{asked.label!r} is none of the labels of {folder}: {', '.join(record.task.label_names)}")
    rows = [
        ListedRow(row, example.text, others.get(row.id) if others else None)
        for row, example in zip(record.rows(), record.examples(), strict=True)
        if asked.label in (None, row.label) and (others is None or others.get(row.id, row.label) != row.label)
    ]
    if asked.num_least_certain is not None:
        rows = sorted(rows, key=lambda one: one.row.rank)[: asked.num_least_certain]
    return rows


def lines(rows: Sequence[ListedRow]) -> Iterator[str]:
    """A header and a line a row: certainty, label, the other run's label if there is one, what a person did, id, text.
    Columns that no row fills are left out."""
    cells = [
        (f"{one.row.certainty:.3f}", one.row.label, one.other or "", one.decided, one.row.id, one.text) for one in rows
    ]
    table = [("certainty", "label", "other", "decided", "id", "text"), *cells]
    columns = [list(map(visible, column)) for column in zip(*table, strict=True)]
    shown = [column for column in columns if any(column[1:])]
    widths = [max(map(cell_len, column)) for column in shown[:-1]] + [0]
    for line in zip(*shown, strict=True):
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        yield "  ".join(padded).rstrip()


def _labels(folder: Path, record: RunRecord) -> Mapping[str, str]:
    labels = {row.id: row.label for row in RunRecord.read(folder).rows()}
    if not labels.keys() & set(record.ids):
        raise RequestError(f"{folder} labelled none of the examples of {record.folder}: their ids differ")
    return labels
