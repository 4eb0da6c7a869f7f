"""Labels of an extension as one file: JSON lines, CSV or Parquet, written from its `labels.jsonl` row by
row."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from icm_annealer.data.columnar import required
from icm_annealer.data.task import Task
from icm_annealer.export.cells import guarded
from icm_client.contract.errors import RequestError

BATCH_ROWS = 10_000


def _jsonl(labels: Path, out: Path, task: Task) -> None:
    shutil.copyfile(labels, out)


def _csv(labels: Path, out: Path, task: Task) -> None:
    """Probabilities are columns `probs.LABEL`; texts are guarded as in an export."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer: Any = None
        for row in _rows(labels):
            flat = {f"probs.{name}": p for name, p in row.pop("probs").items()}
            row |= flat
            if writer is None:
                writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
                writer.writerow(row)
            writer.writerow(guarded(cell) for cell in row.values())


def _parquet(labels: Path, out: Path, task: Task) -> None:
    """Probabilities are a struct with a field a label. Raises RequestError if pyarrow is missing."""
    arrow = required("pyarrow", "a Parquet file")
    parquet = required("pyarrow.parquet", "a Parquet file")
    text, number = arrow.string(), arrow.float64()
    fields = [
        ("row", arrow.int64()),
        ("id", text),
        ("label", text),
        ("certainty", number),
        ("known", arrow.bool_()),
        ("probs", arrow.struct([(name, number) for name in task.label_names])),
        ("margin", number),
        ("label_mass", number),
        ("contexts", arrow.int64()),
        *([("group", text)] if task.group else []),
    ]
    schema = arrow.schema(fields)
    rows = _rows(labels)
    with parquet.ParquetWriter(out, schema) as writer:
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            writer.write_table(arrow.Table.from_pylist(batch, schema=schema))


FORMS: Mapping[str, Callable[[Path, Path, Task], None]] = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
"""By the suffix of the file: writes it from `labels.jsonl`."""


def check_form(out: Path) -> None:
    """Raises RequestError, before any work is done, for a suffix that names no format or one that is not installed."""
    if out.suffix.lower() not in FORMS:
        raise RequestError(f"--out {out}: the name ends in one of {', '.join(FORMS)}, which is the format")
    if out.suffix.lower() == ".parquet":
        required("pyarrow", f"{out}: a Parquet file")


def write_form(labels: Path, out: Path, suffix: str, task: Task) -> None:
    """Writes `out` from `labels` in the format of this suffix, with a few thousand rows in memory."""
    FORMS[suffix.lower()](labels, out, task)


def _rows(labels: Path) -> Iterator[dict[str, Any]]:
    with labels.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
