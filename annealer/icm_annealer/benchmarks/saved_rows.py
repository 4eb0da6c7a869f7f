"""Rows of comparisons in a file of figures: typed, written as soon as they are made, and checked when read back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Self, TypeVar

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from icm_annealer.benchmarks.results_file import Machine, as_json, machine, read_figures, save_figures
from icm_annealer.core.arrays import Ints
from icm_annealer.runs.schema.verdict import VerdictName
from icm_client.contract.errors import RequestError

FORMAT = 1
"""The format number of rows; a file with rows of a later format is not read."""


def _numbers(value: Any) -> Ints:
    if isinstance(value, str):
        value = [int(part) for part in value.split()]
    numbers: Ints = np.asarray(value, dtype=np.int64)
    return numbers


Numbers = Annotated[
    Ints,
    PlainValidator(_numbers),
    PlainSerializer(lambda numbers: " ".join(map(str, numbers.tolist())), return_type=str),
]
"""An array of integers, stored as one string in JSON."""


class SavedRow(BaseModel):
    """The common fields of rows of all comparisons."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    format: int = FORMAT
    task: str
    n: int
    """The requested number of examples to label."""
    seed: int
    of: dict[str, Any] = {}
    """The inputs of the row: a saved row is reused only for the same inputs."""
    machine: Machine | None = None
    check: int = 0
    """A checksum, to detect figures that were changed or damaged."""

    @property
    def name(self) -> str:
        """The name of the method: unique for a part, task, size and seed."""
        raise NotImplementedError

    @property
    def key(self) -> Key:
        return self.task, self.n, self.seed, self.name

    def to_dict(self) -> dict[str, Any]:
        """The form for the file, without fields that are None."""
        return {**as_json(self, exclude_none=True, exclude={"of"}), "of": self.of}

    def finished(self, of: dict[str, Any]) -> Self:
        """A copy of the row with its inputs and the machine."""
        row = self.model_copy(update={"of": _as_saved(of), "machine": machine()})
        return row.model_copy(update={"check": _checksum(row.to_dict())})


class SearchCosts(SavedRow):
    """A row with the costs of a search; the fields are None if no search ran."""

    tokens: int | None = None
    """Computed tokens, counted with a prefix cache that starts empty and never evicts."""
    computed_tokens: int | None = None
    """Reported by the engine."""
    prompt_tokens: int | None = None
    num_passes: int | None = None
    reads_per_example: float | None = None
    seconds: float | None = None
    is_stopped: bool | None = None
    """Whether the search was stopped at its budget."""
    budget: int | None = None
    """The budget in tokens; None if the search ran to its end."""
    verdict: VerdictName | None = None
    """The verdict on the labels that the search found; they are in the row, whatever it is."""


Key = tuple[str, int, int, str]
AnyRow = TypeVar("AnyRow", bound=SavedRow)


class SavedRows(Generic[AnyRow]):
    """The rows of one part of a file of figures, by key. Rows of other comparisons are kept."""

    def __init__(self, out: Path, part: str, row_type: type[AnyRow]):
        """Raises RequestError if the file is of another kind, or holds a row that was changed."""
        self._out, self._part = out, part
        rows = read_figures(out).get(part, [])
        if not isinstance(rows, list):
            raise RequestError(f"{out}: {part} is not a list of rows; move the file away, or give another --out")
        read = [self._read(number, row, row_type) for number, row in enumerate(rows, start=1)]
        self._rows: dict[Key, AnyRow] = {row.key: row for row in read}

    def row(self, key: Key, of: Mapping[str, Any]) -> AnyRow | None:
        """The row with this key, if it is saved with the same inputs."""
        row = self._rows.get(key)
        return row if row is not None and row.of == _as_saved(of) else None

    def put(self, made: AnyRow, of: dict[str, Any]) -> AnyRow:
        """Adds a new row with its inputs, and writes the file."""
        row = made.finished(of)
        self._rows[row.key] = row
        save_figures(self._out, **{self._part: [row.to_dict() for row in self._rows.values()]})
        return row

    def _read(self, number: int, row: Any, row_type: type[AnyRow]) -> AnyRow:
        where = f"{self._out}: row {number} of {self._part}"
        if not isinstance(row, dict) or not isinstance(row.get("format"), int) or row["format"] > FORMAT:
            raise RequestError(f"{where} is of another version; move the file away, or give another --out")
        try:
            is_whole = row.get("check") == _checksum(row)
            read = row_type.model_validate_json(json.dumps(row))
        except (pydantic.ValidationError, KeyError, TypeError, ValueError):
            is_whole = False
        if not is_whole:
            cell = ", ".join(str(row.get(name)) for name in ("task", "n", "seed", "method", "search") if name in row)
            raise RequestError(f"{where} ({cell}) was changed or damaged: take it out of the file to make it again")
        return read


def _as_saved(of: Mapping[str, Any]) -> dict[str, Any]:
    """The value after a round trip through JSON: lists for tuples."""
    saved: dict[str, Any] = json.loads(json.dumps(of))
    return saved


def _checksum(row: dict[str, Any]) -> int:
    """The checksum of the measured fields."""
    rest = {name: value for name, value in row.items() if name not in ("check", "of")}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())
