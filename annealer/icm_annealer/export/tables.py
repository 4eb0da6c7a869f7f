"""Labels as tables: JSON lines, CSV, Parquet, and a dataset of the library `datasets`, one row an example."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from icm_annealer.core.library import Library
from icm_annealer.data.columnar import required
from icm_annealer.data.task import Task
from icm_annealer.export.base import ExportFormat, ExportJob, Written
from icm_annealer.export.cells import write_cells
from icm_annealer.export.labelled import Labelled
from icm_annealer.export.original import original_columns

KINDS = {str: "string", float: "float64", int: "int64", bool: "bool"}
PROBS = ("probs", "context_probs")
"""The fields of a row that hold a probability for each label."""


def records(labelled: Sequence[Labelled]) -> list[dict[str, Any]]:
    """The run's rows with the example's text and the label's certainty: id, text, label, certainty, known, probs,
    margin, context_probs, label_mass, group, run; behind them the columns of the data. A label that abstains is
    None."""
    rows = _found(labelled)
    for name, values in original_columns(labelled, _used(labelled)).items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def _used(labelled: Sequence[Labelled]) -> set[str]:
    """The names of the columns that do not come from the data, nested or not."""
    first = _found(labelled[:1])[0]
    return {*first, *(f"{field}.{name}" for field in PROBS for name in first[field])}


def _found(labelled: Sequence[Labelled]) -> list[dict[str, Any]]:
    return [
        {
            "id": one.row.id,
            "text": one.example.text,
            "label": one.label,
            "certainty": one.row.certainty,
            "known": one.row.known,
            **one.row.model_dump(exclude={"id", "label", "known"}),
        }
        for one in labelled
    ]


def flat_records(labelled: Sequence[Labelled]) -> list[dict[str, Any]]:
    """The same with a field a label, `probs.LABEL` and `context_probs.LABEL`, behind all others."""
    rows = []
    for record in records(labelled):
        flat = {f"{field}.{name}": p for field in PROBS for name, p in record.pop(field).items()}
        rows.append({**record, **flat})
    return rows


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_csv(path: Path, labelled: Sequence[Labelled], *, raw: bool) -> None:
    """The columns of `flat_records`. Unless `raw`, texts are guarded as in `cells`."""
    rows = flat_records(labelled)
    write_cells(path, [list(rows[0]), *(list(row.values()) for row in rows)], raw=raw)


def write_parquet(path: Path, labelled: Sequence[Labelled], task: Task) -> None:
    """Probabilities are structs with a field a label. Raises RequestError if pyarrow is missing."""
    arrow = required("pyarrow", "the format parquet")
    parquet = required("pyarrow.parquet", "the format parquet")
    text, number = arrow.string(), arrow.float64()
    kinds = {str: text, float: number, int: arrow.int64(), bool: arrow.bool_()}
    probs = arrow.struct([(name, number) for name in task.label_names])
    schema = arrow.schema(
        [
            ("id", text),
            ("text", text),
            ("label", text),
            ("certainty", number),
            ("known", arrow.bool_()),
            ("probs", probs),
            ("margin", number),
            ("context_probs", probs),
            ("label_mass", number),
            ("group", text),
            ("run", text),
            *((name, kinds[kind]) for name, kind in _kinds(labelled).items()),
        ]
    )
    parquet.write_table(arrow.Table.from_pylist(records(labelled), schema=schema), path)


def make_dataset(labelled: Sequence[Labelled], task: Task, what: str) -> Any:
    """The same rows as a Dataset, `label` as a ClassLabel, -1 where it abstains. Raises RequestError, saying that
    `what` needs it, if `datasets` is missing."""
    datasets = required("datasets", what)
    text, number = datasets.Value("string"), datasets.Value("float64")
    probs = {name: number for name in task.label_names}
    features = datasets.Features(
        {
            "id": text,
            "text": text,
            "label": datasets.ClassLabel(names=task.label_names),
            "certainty": number,
            "known": datasets.Value("bool"),
            "probs": probs,
            "margin": number,
            "context_probs": probs,
            "label_mass": number,
            "group": text,
            "run": text,
            **{name: datasets.Value(KINDS[kind]) for name, kind in _kinds(labelled).items()},
        }
    )
    rows = [{**record, "label": -1 if record["label"] is None else record["label"]} for record in records(labelled)]
    return datasets.Dataset.from_list(rows, features=features)


def write_dataset(folder: Path, labelled: Sequence[Labelled], task: Task) -> None:
    """Saves that Dataset by `save_to_disk`. Raises RequestError if `datasets` is missing."""
    dataset = make_dataset(labelled, task, "the format hf")
    datasets = required("datasets", "the format hf")
    shows_progress = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        dataset.save_to_disk(str(folder))
    finally:
        if shows_progress:
            datasets.enable_progress_bars()


def _kinds(labelled: Sequence[Labelled]) -> dict[str, type]:
    """The type of each column of the data; text if it is empty."""
    return {
        name: next((type(value) for value in values if value is not None), str)
        for name, values in original_columns(labelled, _used(labelled)).items()
    }


def _jsonl(path: Path, job: ExportJob) -> Written:
    write_jsonl(path, records(job.labelled))
    return Written(len(job.labelled), [])


def _csv(path: Path, job: ExportJob) -> Written:
    write_csv(path, job.labelled, raw=job.raw)
    return Written(len(job.labelled), [])


def _parquet(path: Path, job: ExportJob) -> Written:
    write_parquet(path, job.labelled, job.task)
    return Written(len(job.labelled), [])


def _dataset(path: Path, job: ExportJob) -> Written:
    write_dataset(path, job.labelled, job.task)
    return Written(len(job.labelled), [])


JSONL = ExportFormat("jsonl", "JSON lines", "export.jsonl", _jsonl, holds_unlabelled=True)
CSV = ExportFormat("csv", "a table", "export.csv", _csv, holds_unlabelled=True)
PARQUET = ExportFormat(
    "parquet", "a table", "export.parquet", _parquet, holds_unlabelled=True, library=Library("pyarrow", "data")
)
HF = ExportFormat(
    "hf",
    "a dataset folder",
    "dataset",
    _dataset,
    is_folder=True,
    holds_unlabelled=True,
    library=Library("datasets", "data"),
)
