"""Reads a run's data again with gold labels, which a run does not store, for evaluation and reports."""

from __future__ import annotations

from typing import NamedTuple

from icm_annealer.data.examples import Example, Loaded, load_examples
from icm_annealer.data.rows import READ_AS_IT_IS, ReadAs
from icm_annealer.data.task import LoadedTask, Task, built_in_tasks, load_task
from icm_annealer.runs.record import RunRecord
from icm_client.contract.errors import RequestError


class Reference(NamedTuple):
    """The data of a run from outside its folder."""

    task: Task
    """The task with the label rates that were stated for the run or found by it, and with its gold field if it has one
    and the task was found."""
    examples: list[Example]
    """The labelled examples, in the run's order."""
    data: Loaded | None
    """All data of the run's source, which has more examples than the run if a part was drawn; None if the source is
    unknown."""


def read_again(
    record: RunRecord,
    task: str | None = None,
    data: str | None = None,
    *,
    allow_code: bool = False,
    read_as: ReadAs = READ_AS_IT_IS,
) -> Reference:
    """The run's examples and data. `data` defaults to the source named by the task, `task` to the built-in task.

    Raises RequestError if the task or data named are not the run's, or if its examples are not found. `allow_code` is
    that of `load_task`; code named in the run's folder is never run.
    """
    found = task_again(record.task, str(record.folder), task, allow_code=allow_code)
    full = (found.task if found else record.task).model_copy(update={"rates": record.rates})
    if data is not None:
        loaded = load_examples(data, full, read_as)
        return Reference(full, record.examples(loaded.examples), loaded)
    source = found.data_path if found else None
    if source is not None:
        loaded = load_examples(source, full, read_as)
        try:
            return Reference(full, record.examples(loaded.examples), loaded)
        except RequestError:  # the run used other data
            pass
    return Reference(full, record.examples(), None)


def task_again(used: Task, where: str, task: str | None, *, allow_code: bool = False) -> LoadedTask | None:
    """The task file named `task` (by default the built-in task of the same name) of which `used` is a copy without the
    gold field; None if it is not known. Raises RequestError if `task` is not the task of `where`, which used it."""
    if task is None and used.name not in built_in_tasks():
        return None
    loaded = load_task(task or used.name, allow_code=allow_code)
    # Rates may have been stated for the run alone.
    ours, theirs = (one.model_copy(update={"rates": {}}).seen() for one in (loaded.task, used))
    if ours == theirs:
        return loaded
    if task is None:  # a user's task with the name of a built-in one
        return None
    differ = ", ".join(key for key in ours if ours[key] != theirs.get(key))
    raise RequestError(f"{task} is not the task of {where}: {differ} differ", code="bad_task")
