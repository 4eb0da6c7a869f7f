"""Reads labels: of a run, of a file, of gold, of people."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.data.columnar import plain
from icm_annealer.data.examples import MAX_ROWS, Example, load_examples
from icm_annealer.data.label_values import LabelValues
from icm_annealer.data.row_reader import is_absent
from icm_annealer.data.rows import REMOTE, read_rows
from icm_annealer.data.task import LoadedTask, Task, load_task
from icm_annealer.extending.chunks import id_of
from icm_annealer.extending.labelled_rows import LabelledRows, folder_of
from icm_annealer.runs.directory import JOURNAL
from icm_annealer.runs.gold import read_again, task_again
from icm_annealer.runs.record import RunRecord
from icm_annealer.sources.byte_source import STANDARD_INPUT
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_trainer.sft.labelled import LabelledExample, LabelSet, Origin, RunOrigin


class LabelOptions(NamedTuple):
    """Where labels are, as a user names it."""

    source: str | None = None
    """A run's folder, a file with labels, or a file of the task's rows; None for the task's own data."""
    task: str | None = None
    data: str | None = None
    """The task's rows, for labels by id and for gold labels of a run."""
    from_gold: bool = False
    """Take the task's gold labels."""
    field: str | None = None
    """Take the labels that people wrote into this field of the rows."""
    allow_code: bool = False


def is_run(source: str | None) -> bool:
    return source is not None and (Path(source) / JOURNAL).is_file()


def run_of(options: LabelOptions) -> RunRecord | None:
    """The run that the options name; None if they name other labels."""
    return RunRecord.read(Path(options.source)) if options.source is not None and is_run(options.source) else None


def read_labels(options: LabelOptions) -> LabelSet:
    """The labels that the options name. Raises RequestError."""
    if options.from_gold and options.field:
        raise RequestError("--from-gold and --field exclude each other: both name the labels to take")
    record = run_of(options)
    if record is not None:
        return _of_run(record, options)
    source = options.source
    if source is not None and not source.startswith(REMOTE) and source != STANDARD_INPUT and not Path(source).exists():
        raise RequestError(f"{source}: there is neither a run nor a file with labels", code="no_data")
    extension = LabelledRows.of(Path(source)) if source is not None and not options.from_gold else None
    if extension is not None and source is not None and not options.field:
        return _of_extension(source, extension, options)
    if options.task is None:
        raise RequestError("name the task of these labels with --task: a built-in task or a task file")
    loaded = load_task(options.task, allow_code=options.allow_code)
    if options.from_gold or options.field:
        return _of_rows(loaded, options)
    if options.source is None:
        raise RequestError("name the labels: a run, a file, or --from-gold or --field for those of the task's data")
    if Path(options.source).is_dir() and not (Path(options.source) / "dataset_info.json").is_file():
        raise RequestError(f"{options.source} is neither a run nor a file with labels")
    return _of_file(options.source, loaded, options)


def _of_run(record: RunRecord, options: LabelOptions) -> LabelSet:
    """The run's labels, or other labels of its examples."""
    name, task = str(record.folder), record.task.model_copy(update={"rates": record.rates})
    if options.from_gold or options.field:
        reference = read_again(record, options.task, options.data, allow_code=options.allow_code)
        if options.field and options.field != reference.task.gold:
            values = LabelValues(reference.task)
            labels = {
                example.id: label
                for example in reference.examples
                if (label := values.label_at(plain(_field(example, options.field, name)), f"{name}, id {example.id!r}"))
            }
        elif reference.data is None:
            raise RequestError(
                f"the gold labels of {name} are not known: name its task file and data with --task and --data"
            )
        else:
            labels = reference.data.gold
        found = [LabelledExample(one, labels[one.id]) for one in reference.examples if one.id in labels]
        origin = _stated_origin(options, f"of the examples of {name}")
        return LabelSet(task, found, origin, len(reference.examples) - len(found))
    if options.task is not None:
        read_again(record, options.task, allow_code=options.allow_code)  # refuses another task
    rows = record.rows()
    found = [
        LabelledExample(example, row.label, row.certainty, row.margin)
        for example, row in zip(record.examples(), rows, strict=True)
    ]
    verdict = record.verdict
    run = RunOrigin(
        model=record.header.model.name,
        verdict=str(verdict) if verdict else "",
        alarms=[alarm.line for alarm in record.alarms],
        u=record.u,
        u_se=record.u_se,
        u_unit=record.u_unit,
    )
    return LabelSet(task, found, Origin(kind="run", text=f"found by the run {name}", run=run))


def _of_rows(loaded: LoadedTask, options: LabelOptions) -> LabelSet:
    """The labels that the task's own rows hold, in its gold field or in another one."""
    task, source = loaded.task, options.source or options.data or loaded.data_path
    if source is None:
        raise RequestError(f"the task {task.name} names no data: name its rows, or --data")
    by_gold = options.from_gold or options.field == task.gold
    if by_gold and task.gold is None:
        raise RequestError(f"--from-gold: the task {task.name} names no gold field")
    read = load_examples(source, task if by_gold else task.model_copy(update={"known": options.field}))
    labels = read.gold if by_gold else read.known
    if not labels:
        raise RequestError(f"{source}: no row has a label in the field {task.gold if by_gold else options.field!r}")
    found = [LabelledExample(one, labels[one.id]) for one in read.examples if one.id in labels]
    return LabelSet(task, found, _stated_origin(options, f"of {source}"), len(read.examples) - len(found))


def _of_extension(source: str, extension: LabelledRows, options: LabelOptions) -> LabelSet:
    """Labels of `icm extend`, whose rows are found by their numbers in the data that it labelled."""
    rows: list[tuple[Row, int]] = []
    for where, row in _limited(source):
        number = None if not isinstance(row, dict) or "label" not in row else row.get("row")
        if number is None or not str(number).isdecimal():
            raise RequestError(f"{where}: a row of `icm extend` has the fields label and row", code="bad_data")
        rows.append((Row(where, row), int(number)))
    data = extension.source(options.data, allow_code=options.allow_code)
    task = data.task
    if options.task is not None:
        task_again(task, source, options.task, allow_code=options.allow_code)  # refuses another task
    read = extension.rows(data, [number for _, number in rows])
    found: list[LabelledExample] = []
    values = LabelValues(task)
    for (where, row), number in rows:
        label, one = values.label_at(plain(row["label"]), where), read.get(number)
        if one is None:
            raise RequestError(f"{where}: {data.name} has no row {number} that was labelled", code="bad_data")
        if label is not None:
            example = Example(id_of(one), one.text, one.group, one.facts)
            found.append(
                LabelledExample(example, label, _number(row, "certainty", where), _number(row, "margin", where))
            )
    origin = Origin(kind="file", text=f"read from {source}, by the core {extension.header.core}")
    return LabelSet(task, found, origin, len(rows) - len(found))


def _limited(source: str) -> Iterator[Row]:
    for number, row in enumerate(read_rows(source)):
        if number >= MAX_ROWS:
            raise RequestError(f"{row.where}: more than {MAX_ROWS} rows", code="bad_data")
        yield row


def _of_file(source: str, loaded: LoadedTask, options: LabelOptions) -> LabelSet:
    """Rows with a label, and the whole text that the model reads or the id of a row of the task's data."""
    task, rows = loaded.task, list[Row]()
    for where, row in _limited(source):
        is_extended = isinstance(row, dict) and "row" in row and "label" in row and "text" not in row
        if is_extended and (options.data is None or is_absent(row.get("id"))):
            raise RequestError(
                f"{source}: labels of `icm extend` without the folder {folder_of(Path(source)).path.name} beside them, "
                "which says which rows they are: move it here, or name their data with --data if they have ids",
                code="bad_data",
            )
        if not isinstance(row, dict) or "label" not in row or ("text" not in row and is_absent(row.get("id"))):
            raise RequestError(
                f"{where}: a row needs the fields label and text, or label and id; for labels in another field of the "
                "task's rows use --field",
                code="bad_data",
            )
        rows.append(Row(where, row))
    by_id: dict[str, Example] = {}
    if any("text" not in row for _, row in rows):
        data = options.data or loaded.data_path
        if data is None:
            raise RequestError(f"{source}: names rows by id: give the task's rows with --data")
        by_id = {example.id: example for example in load_examples(data, task).examples}
    found: list[LabelledExample] = []
    values = LabelValues(task)
    for where, row in rows:
        label = values.label_at(plain(row["label"]), where)
        if label is None:
            continue
        example = _whole_text(row, len(found), task, where) if "text" in row else by_id.get(str(row["id"]))
        if example is None:
            raise RequestError(f"{where}: no row of the task's data has the id {str(row['id'])!r}", code="bad_data")
        found.append(LabelledExample(example, label, _number(row, "certainty", where), _number(row, "margin", where)))
    return LabelSet(task, found, Origin(kind="file", text=f"read from {source}"), len(rows) - len(found))


def _whole_text(row: dict[str, Any], number: int, task: Task, where: str) -> Example:
    """An example whose text is what the model reads, as `icm export` writes it."""
    text, end = row["text"], ending_of(task.template)
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"{where}: text: expected a text that is not empty", code="bad_data")
    if not text.endswith(end):
        raise RequestError(
            f"{where}: the text does not end with {end!r} as the task's template does, so it is not what the model "
            "reads: for labels in the task's own rows use --field label",
            code="bad_data",
        )
    group = row.get("group")
    name = str(number if is_absent(row.get("id")) else row["id"])
    return Example(name, text, None if is_absent(group) else str(group), {})


def ending_of(template: str) -> str:
    """What every text of the template ends with: that behind its last field."""
    *_, (literal, field, _, _) = string.Formatter().parse(template)
    return literal if field is None else ""


def _field(example: Example, field: str, name: str) -> Any:
    if field not in example.fields:
        there = ", ".join(list(example.fields)[:20])
        raise RequestError(f"the rows of {name} have no field {field!r} (there are: {there})")
    return example.fields[field]


def _number(row: dict[str, Any], field: str, where: str) -> float | None:
    value: Any = row.get(field)
    if is_absent(value) or value == "":
        return None
    try:
        return float(value)  # a CSV's cells are text
    except (TypeError, ValueError):
        raise RequestError(f"{where}: {field}: not a number", code="bad_data") from None


def _stated_origin(options: LabelOptions, of_what: str) -> Origin:
    if options.from_gold:
        return Origin(kind="gold", text=f"the gold labels {of_what}")
    return Origin(kind="field", text=f"people's labels, the field {options.field!r} {of_what}")
