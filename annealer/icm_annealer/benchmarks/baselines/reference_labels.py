"""Reference labels: human labels, and gold labels with noise. For evaluation only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import Example
from icm_annealer.data.label_values import LabelValues
from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError


def human_labels(examples: Sequence[Example], field: str, task: Task) -> Ints:
    """Label numbers from a field of the data, -1 where it is empty.

    Raises RequestError if it is the field with gold or known labels, is empty everywhere, or holds a value that is not
    a label.
    """
    if field == task.gold:
        raise RequestError(f"{field!r} is the task's gold field: name the one that holds people's labels with --human")
    if field == task.known:
        raise RequestError(f"{field!r} is the task's field with known labels, which every search is given")
    number = {name: k for k, name in enumerate(task.label_names)}
    labels = np.full(len(examples), -1)
    values = LabelValues(task)
    for k, example in enumerate(examples):
        name = values.label_at(example.fields.get(field), f"example {example.id!r}, field {field!r}")
        if name is not None:
            labels[k] = number[name]
    if (labels < 0).all():
        there = ", ".join(list(examples[0].fields)[:20])
        raise RequestError(f"the field {field!r} gives no example a label (there are: {there})")
    return labels


def with_noise(gold: Ints, num_wrong: int, num_labels: int, rng: np.random.Generator) -> Ints:
    """`gold` with `num_wrong` random labels replaced by random other labels."""
    labels = gold.copy()
    flipped = rng.permutation(len(gold))[:num_wrong]
    labels[flipped] = (labels[flipped] + rng.integers(1, num_labels, size=len(flipped))) % num_labels
    return labels
