"""What `icm eval` judges: a run's labels, or a model that was tuned on labels; and what it is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from icm_annealer.data.examples import Loaded, labels_of, load_examples
from icm_annealer.data.rows import READ_AS_IT_IS, ReadAs
from icm_annealer.data.task import Task
from icm_annealer.evaluation.run_evaluation import HeldOut, Shots, TunedModel, has_nothing_unseen, unseen
from icm_annealer.runs.directory import STARTED
from icm_annealer.runs.gold import read_again
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.review_file import Decided
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.state import StartState
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity


class Subject(NamedTuple):
    """Labels and what they are compared on."""

    name: str
    folder: Path
    """Where the figures are written."""
    task: Task
    shots: Shots
    pool: Loaded
    """The examples that were read to test on."""
    held_out: HeldOut | None
    """Those of them that were not labelled; None if a run labelled all, so that its labels alone are judged."""
    found_by: ModelIdentity | None = None
    """The model that found the labels, if it may be another than the one that is prompted."""
    tuned: TunedModel | None = None
    note: str = ""
    """What a reader of the figures should know; empty for nothing."""


def run_subject(
    folder: Path,
    task: str | None,
    data: str | None,
    test: str | None,
    *,
    allow_code: bool = False,
    how: ReadAs = READ_AS_IT_IS,
) -> Subject:
    """The labels of the run in `folder`, and unseen examples of `test`, or else of the run's own data. Without `task`,
    task file and data are those that the run began with. Raises RequestError."""
    record = RunRecord.read(folder)
    state = read_file(folder / STARTED, StartState)
    if state is not None:
        task, data = task or _if_there(state.task), data or _if_there(state.data)
    names, rows = record.task.label_names, record.rows()
    reference = read_again(record, task, data, allow_code=allow_code, read_as=how)
    own = reference.data or Loaded([], {})
    if reference.task.gold is not None and test is None and reference.data is None:
        raise RequestError(f"name the data of {folder} with --data, or other examples with --test")
    pool = examples_to_test(reference.task, "the run's", own, data, test, how)
    shots = Shots(
        reference.examples,
        np.array([names.index(row.label) for row in rows], dtype=np.int64),
        np.array([row.certainty for row in rows]),
        labels_of(reference.examples, own.gold, reference.task),
        np.array([row.known for row in rows]),
    )
    is_alone = test is None and shots.label_accuracy and has_nothing_unseen(pool, reference.examples)
    held_out = None if is_alone else unseen(pool, reference.examples)
    decided = Decided.of(rows)
    note = f"{decided}; they count as they are" if decided.is_any else ""
    return Subject(record.name, folder, reference.task, shots, pool, held_out, record.header.model, note=note)


def _if_there(path: str | None) -> str | None:
    return path if path is not None and Path(path).is_file() else None


def examples_to_test(
    task: Task, whose: str, own: Loaded, data: str | None, test: str | None, how: ReadAs = READ_AS_IT_IS
) -> Loaded:
    """The examples to test on: of `test`, or else `own`, which were read from `data`. Raises RequestError without a
    gold field."""
    if task.gold is None:
        raise RequestError(f"the gold field is not known: name {whose} task file, with `gold:` in it, by --task")
    # The same name twice may be a pipe, which can be read once.
    return own if test is None or test == data else load_examples(test, task, how)
