"""What a relabelling starts from: examples, of which all or some have labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.data.examples import Example, Loaded, labels_of
from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError
from icm_trainer.relabel.search import SURE
from icm_trainer.sft.labelled import Origin
from icm_trainer.sft.pool import read_pool
from icm_trainer.sft.sources import LabelOptions, read_labels, run_of


@dataclass(frozen=True)
class Start:
    """Examples, those with a label first, and their labels. It holds no gold label that was not named as the start."""

    task: Task
    examples: Sequence[Example]
    labels: Ints
    """[example]: label numbers, -1 for the examples to label first."""
    margins: Array
    """[example]: nats above the next best label; infinite where they are not known."""
    known: dict[str, str]
    """Labels by id that stay as they are: known ones, and those that people decided."""
    origin: Origin

    @property
    def num_labelled(self) -> int:
        return int((self.labels >= 0).sum())

    def with_rates(self, task: Task) -> Start:
        """The same with the label rates of `task`."""
        return replace(self, task=self.task.model_copy(update={"rates": task.rates}))


def read_start(options: LabelOptions, num_examples: int | None, *, labels_all: bool) -> Start:
    """The labels that the options name, the first `num_examples` of them; with `labels_all` also the other rows of the
    data, without labels. Raises RequestError."""
    given = read_labels(options).first(num_examples)
    given.check()
    record = run_of(options)
    known = {}
    if record is not None and not (options.from_gold or options.field):
        known = {row.id: row.label for row in record.rows() if row.known or row.is_decided}
    needs_rows = labels_all or any(not row.example.fields for row in given.rows)
    pool = read_pool(options, given.task) if needs_rows else Loaded([], {})
    examples = _in_pool([row.example for row in given.rows], pool)
    rest = _rest(examples, pool) if labels_all else []
    if labels_all and not rest:
        raise RequestError(f"--all: the data have no other rows than those labelled ({given.origin.text})")
    there = {example.id for example in [*examples, *rest]}
    known = {name: label for name, label in {**pool.known, **known}.items() if name in there}
    margins = np.array([SURE if row.margin is None else row.margin for row in given.rows])
    return Start(
        given.task,
        [*examples, *rest],
        np.concatenate([given.labels, labels_of(rest, {}, given.task)]).astype(np.int64),
        np.concatenate([margins, np.full(len(rest), SURE)]),
        known,
        given.origin,
    )


def _in_pool(examples: Sequence[Example], pool: Loaded) -> list[Example]:
    """The examples as the data have them; those of a label file that holds texts alone are found by these. Raises
    RequestError for one that is in no row."""
    by_text = {example.text: example for example in pool.examples}
    found = []
    for example in examples:
        if not example.fields and example.text not in by_text:
            raise RequestError(f"no row of the task's data has the text {example.text[:60]!r}", code="bad_data")
        found.append(example if example.fields else by_text[example.text])
    if len({example.id for example in found}) < len(found):
        raise RequestError("two labels are of the same row of the task's data", code="bad_data")
    return found


def _rest(examples: Sequence[Example], pool: Loaded) -> list[Example]:
    ids = {example.id for example in examples}
    return [example for example in pool.examples if example.id not in ids]
