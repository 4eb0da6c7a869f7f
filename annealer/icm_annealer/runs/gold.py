"""A run's data read again with gold, which a run does not keep: for evaluation and reports, after the search."""

from __future__ import annotations

from typing import NamedTuple

from icm_annealer.data.examples import Example, Loaded, load_examples
from icm_annealer.data.task import LoadedTask, Task, built_in_tasks, load_task
from icm_annealer.runs.record import RunRecord
from icm_client.contract.errors import RequestError


class Reference(NamedTuple):
    """What is known of a run besides its folder."""

    task: Task
    """With its gold field, if it has one and the task was found."""
    examples: list[Example]
    """Those that were labelled, in the run's order."""
    data: Loaded | None
    """The run's whole data file, which holds more examples than were labelled if a part was drawn; None if no file
    is known."""


def read_again(
    record: RunRecord, task: str | None = None, data: str | None = None, *, allow_code: bool = False
) -> Reference:
    """The run's examples, and its data by `data`, else as the task says; the task by `task`, else as built in.

    Raises RequestError if what was named is not the run's, or if its examples are nowhere to be found. `allow_code` is
    `load_task`'s; what a run's folder names is never run.
    """
    found = _task(record, task, allow_code)
    full = found.task if found else record.task
    if data is not None:
        loaded = load_examples(data, full)
        return Reference(full, record.examples(loaded.examples), loaded)
    source = found.data_path if found else None
    if source is not None:
        loaded = load_examples(source, full)
        try:
            return Reference(full, record.examples(loaded.examples), loaded)
        except RequestError:  # the run had other data, by --data
            pass
    return Reference(full, record.examples(), None)


def _task(record: RunRecord, task: str | None, allow_code: bool) -> LoadedTask | None:
    if task is None and record.task.name not in built_in_tasks():
        return None
    loaded = load_task(task or record.task.name, allow_code=allow_code)
    ours, theirs = loaded.task.seen(), record.task.seen()
    if ours == theirs:
        return loaded
    if task is None:  # a task of the user's own that has a built-in one's name
        return None
    differ = ", ".join(key for key in ours if ours[key] != theirs[key])
    raise RequestError(f"{task} is not the task of {record.folder}: {differ} differ", code="bad_task")
