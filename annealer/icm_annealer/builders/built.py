"""The output of a builder, and how it is written. A leaf of the builders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.runs.directory import RunDir
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError

Report = Callable[[str], None]
"""Called with the progress of a builder as text; the callee decides how much to show."""


class Built(NamedTuple):
    """A builder's rows, and notes about what was left out."""

    rows: list[dict[str, Any]]
    notes: list[str]


def fields_of(row: Row) -> dict[str, Any]:
    """The row as a dict. Raises RequestError naming the row if it is not an object."""
    if not isinstance(row.value, dict):
        raise RequestError(f"{row.where}: a row must be an object, not {type(row.value).__name__}", code="bad_data")
    return row.value


def field_of(row: Row, *names: str) -> Any:
    """The value of the first of these fields present in the row. Raises RequestError naming the row if none is."""
    fields = fields_of(row)
    for name in names:
        if fields.get(name) is not None:
            return fields[name]
    there = ", ".join(list(fields)[:20])
    raise RequestError(f"{row.where}: the field {' or '.join(names)} is missing (there are: {there})", code="bad_data")


def text_of(row: Row, *names: str) -> str:
    """Like `field_of`, for a text that must not be empty."""
    value = field_of(row, *names)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{row.where}: the field {' or '.join(names)} is not a text", code="bad_data")
    return value.strip()


def generator(seed: int, *path: int) -> np.random.Generator:
    """A random generator for one part of a builder's work, independent of how much the other parts draw."""
    return np.random.default_rng([seed, *path])


def write_rows(out: Path, built: Built) -> None:
    """Writes one JSON object per line, atomically. Raises RequestError, also if there are no rows."""
    if not built.rows:
        raise RequestError(f"nothing to write to {out}: " + ("; ".join(built.notes) or "the source has no rows"))
    RunDir(out.parent).write_jsonl(out.name, built.rows)
