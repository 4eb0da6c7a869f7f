"""Converts the arguments of the Python API to a task, examples and settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.columnar import plain
from icm_annealer.data.examples import Loaded, examples_of, load_examples
from icm_annealer.data.given_labels import with_known
from icm_annealer.data.rows import READ_AS_IT_IS, ReadAs
from icm_annealer.data.task import LoadedTask, Task, check_task, load_task
from icm_annealer.data.template import template_fields
from icm_annealer.runs.directory import JOURNAL
from icm_annealer.runs.record import RunRecord
from icm_annealer.searches.settings import Settings
from icm_annealer.sources.delimited import check_columns
from icm_annealer.sources.encoding import check_encoding
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_client.text.validation import first_error

Labels = Mapping[str, str | Sequence[str]] | Sequence[str]
"""Label name -> its text in prompts (or several texts); or a sequence of names."""


def load_data(
    task: str, data: str | None, *, allow_code: bool, read_as: ReadAs = READ_AS_IT_IS
) -> tuple[LoadedTask, Loaded]:
    """Loads a task by name or file, and the examples of `data` or, if that is None, of the task. Raises
    RequestError."""
    loaded_task = load_task(task, allow_code=allow_code)
    source = data or loaded_task.data_path
    if source is None:
        builder = loaded_task.task.builder
        raise RequestError(
            f"the task {task!r} has no data of its own: name a file with --data"
            + (f" (`{builder}` makes one; see `{builder} --help`)" if builder else "")
        )
    return loaded_task, load_examples(source, loaded_task.task, read_as)


def task_of(
    task: Task | str | os.PathLike[str] | None, template: str | None, labels: Labels | None, *, allow_code: bool
) -> tuple[Task, Path | str | None]:
    """The task, and the location of its data if it has any. Raises RequestError."""
    if task is not None:
        if template is not None or labels is not None:
            raise RequestError("give either task=, or template= and labels=")
        if isinstance(task, Task):
            check_task(task)
            return task, None
        loaded = load_task(os.fspath(task), allow_code=allow_code)
        return loaded.task, loaded.data_path
    if template is None or labels is None:
        raise RequestError("template= and labels= are needed, or a task=")
    try:
        made = Task(name="data", template=template, labels=_texts(labels, template))
    except pydantic.ValidationError as error:
        raise RequestError(first_error(error, whole="the settings"), code="bad_task") from None
    check_task(made)
    return made, None


def way_to_read(columns: Sequence[str], encoding: str | None, skip_bad: bool) -> ReadAs:
    """How data are read. Raises RequestError for names of columns that are empty or equal, and for an unknown
    encoding."""
    try:
        check_columns(list(columns))
        return ReadAs(list(columns), check_encoding(encoding) if encoding is not None else None, skip_bad)
    except ValueError as error:
        raise RequestError(str(error)) from None


def load_rows(rows: Any, task: Task, read_as: ReadAs = READ_AS_IT_IS) -> Loaded:
    """The examples at a path (anything that `--data` accepts), or made from rows in memory, in order.

    Rows are mappings, or texts for a template with one field. They may come as any iterable, as a DataFrame (of pandas
    or polars), or as a Dataset of the library `datasets`. Raises RequestError, naming the row.
    """
    if isinstance(rows, str | os.PathLike):
        return load_examples(os.fspath(rows), task, read_as)
    if read_as.columns or read_as.encoding:
        raise RequestError("columns= and encoding= are for a file; rows in memory have their own names")
    loaded = examples_of(rows_of(rows, task), task, BadRows("rows", task, skip=read_as.skip_bad))
    if not loaded.examples:
        raise RequestError("rows: there are none", code="bad_data")
    return loaded


class Start(NamedTuple):
    """Where a search starts: labels by example id, and the data, where labels that people decided are known."""

    labels: dict[str, str]
    loaded: Loaded


def start_from(folder: str | os.PathLike[str], loaded: Loaded, task: Task, out: str | os.PathLike[str] | None) -> Start:
    """The labels of the run in `folder` for the examples that are also here, those that people decided as known labels.

    Raises RequestError if it is not finished, if no example or not every label is here, if a label that is decided
    there is known here as another, or if it is the run in `out` itself, which could not be resumed without its labels.
    """
    if out is not None and Path(out).resolve() == Path(folder).resolve():
        raise RequestError(f"{folder} cannot start from itself: write the new run to another folder")
    there = {example.id for example in loaded.examples}
    labels = {row.id: row.label for row in RunRecord.read(Path(folder)).rows() if row.id in there}
    if not labels:
        raise RequestError(f"{folder} labelled none of these examples: their ids differ", code="bad_data")
    others = sorted(set(labels.values()) - set(task.label_names))
    if others:
        raise RequestError(f"{folder} has the label {others[0]!r}, which is none of the task's", code="bad_data")
    return Start(labels, with_known(loaded, task, decided_labels(folder, loaded)))


def with_known_labels(loaded: Loaded, task: Task, known: Any) -> Loaded:
    """`with_known`, whose `known` may also be the folder of a run: the labels that people decided there. Raises
    RequestError, also if nobody has decided any."""
    if isinstance(known, str | os.PathLike) and (Path(known) / JOURNAL).is_file():
        decided = decided_labels(known, loaded)
        if not decided:
            raise RequestError(
                f"{os.fspath(known)} holds no label of these examples that a person has decided: see `icm review`",
                code="bad_data",
            )
        known = decided
    return with_known(loaded, task, os.fspath(known) if isinstance(known, os.PathLike) else known)


def decided_labels(folder: str | os.PathLike[str], loaded: Loaded) -> dict[str, str]:
    """The labels that people decided in the run in `folder` (id -> label name), in a review or by an edit of its
    labels.jsonl, for the examples that are also here. Raises RequestError if it is not finished."""
    there = {example.id for example in loaded.examples}
    return {row.id: row.label for row in RunRecord.read(Path(folder)).rows() if row.is_decided and row.id in there}


def index_of(rows: Any) -> Any:
    """The index of a pandas DataFrame; None for other rows."""
    return rows.index if hasattr(rows, "to_dict") and hasattr(rows, "columns") else None


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Raises RequestError for a setting that is unknown or out of range."""
    try:
        settings = Settings(**options)
    except pydantic.ValidationError as error:
        unknown = [e["loc"][0] for e in error.errors() if e["type"] == "extra_forbidden" and len(e["loc"]) == 1]
        if unknown:
            known = ", ".join(Settings.model_fields)
            raise RequestError(f"{unknown[0]!r} is neither a parameter nor a setting (these are: {known})") from None
        raise RequestError(first_error(error, whole="the settings")) from None
    settings.plan_kind()
    return settings


def _texts(labels: Labels, template: str) -> dict[str, str | list[str]]:
    """Uses label names as texts, with a leading space unless the template ends in a space or a newline."""
    if isinstance(labels, str):
        raise RequestError(f"labels={labels!r}: a list of names, or a mapping from names to texts, is needed")
    if isinstance(labels, Mapping):
        return {str(name): text if isinstance(text, str) else list(text) for name, text in labels.items()}
    space = "" if template[-1:].isspace() else " "
    return {str(name): f"{space}{name}" for name in labels}


def rows_of(rows: Any, task: Task) -> Iterator[Row]:
    """Rows in memory, as `load_rows` takes them, with their places. Raises RequestError."""
    if hasattr(rows, "to_dicts"):  # polars
        rows = rows.to_dicts()
    elif hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # pandas
        rows = rows.to_dict("records")
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        raise RequestError(
            f"rows are {type(rows).__name__}: a list of mappings, a DataFrame or the path of a file is needed",
            code="bad_data",
        )
    fields = template_fields(task.template)
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str) and len(fields) == 1:
            row = {fields[0]: row}
        elif isinstance(row, Mapping):
            row = {str(name): plain(value) for name, value in row.items()}
        yield Row(f"row {number}", row)
