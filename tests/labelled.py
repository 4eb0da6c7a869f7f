"""Labelled examples to learn from: the planted ones, with as many wrong labels as a test asks for."""

from __future__ import annotations

import numpy as np
from tests import planted

from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_client.text.strict_yaml import read_yaml
from icm_trainer.sft.labelled import LabelledExample, LabelSet, Origin

TASK = Task.model_validate(read_yaml(planted.TASK))


def planted_labels(num: int = 24, *, wrong: float = 0.0, task: Task = TASK, seed: int = 0) -> LabelSet:
    """`num` planted rows; each label is wrong with this probability."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in planted.rows(num, seed):
        is_wrong = rng.random() < wrong
        label = {"hot": "cool", "cool": "hot"}[row["label"]] if is_wrong else row["label"]
        rows.append(LabelledExample(Example(row["id"], task.render(row), None, row), label))
    return LabelSet(task, rows, Origin(kind="gold", text="planted"))
