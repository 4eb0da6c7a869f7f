"""The tasks that come along are the generated ones, obey their rules, and are written in the models' own tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from icm_annealer.data.examples import consistency_of, labels_of, load_examples
from icm_annealer.data.task import BUILT_IN, load_task
from icm_lab.corpus import to_ids
from icm_lab.tasks import TASKS, LabTask, write_tasks
from icm_lab.vocabulary import save_tokenizer
from icm_lab.worlds import worlds

EACH = pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])


def test_the_shipped_tasks_are_the_generated_ones(tmp_path: Path) -> None:
    for folder in write_tasks(tmp_path):
        for file in folder.iterdir():
            assert file.read_bytes() == (BUILT_IN / folder.name / file.name).read_bytes()


@EACH
def test_gold_never_breaks_the_rules(task: LabTask) -> None:
    loaded_task = load_task(task.name)
    assert loaded_task.data_path is not None
    loaded = load_examples(loaded_task.data_path, loaded_task.task)
    gold = labels_of(loaded.examples, loaded.gold, loaded_task.task)
    assert consistency_of(loaded_task.task, loaded.examples).num_contradictions(gold) == 0
    rate = (gold == 0).mean()
    assert rate == pytest.approx(0.2 if task.name == "lab-unbalanced" else 0.5, abs=0.06)


def test_the_inverse_of_arithmetic_breaks_the_rule_in_every_group() -> None:
    loaded_task = load_task("lab-arithmetic")
    assert loaded_task.data_path is not None
    loaded = load_examples(loaded_task.data_path, loaded_task.task)
    gold = labels_of(loaded.examples, loaded.gold, loaded_task.task)
    assert consistency_of(loaded_task.task, loaded.examples).num_contradictions(1 - gold) == 200


def test_people_are_right_in_about_60_of_100() -> None:
    rows = next(task for task in TASKS if task.name == "lab-superhuman").rows()
    assert np.mean([row["human"] == row["label"] for row in rows]) == pytest.approx(0.6, abs=0.05)


@EACH
def test_a_prompt_has_the_tokens_of_a_document(task: LabTask, tmp_path: Path) -> None:
    save_tokenizer(tmp_path, 1024)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    file, world, rows = load_task(task.name).task, worlds()[task.world], task.rows()[:20]
    text = file.separator.join(file.render(row) + f" {row['label']}" for row in rows)
    first = np.array([[world.firsts.index(row["first"]) for row in rows]])
    second = np.array([[world.seconds.index(row["second"]) for row in rows]])
    labels = np.array([[row["label"] == "True" for row in rows]])
    assert tokenizer.encode(text).ids == to_ids(world, first, second, labels)[0].tolist()
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
