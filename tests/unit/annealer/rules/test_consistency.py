"""Logical consistency of a dataset: contradictions by group, and the best labels that have none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.released import released_file

from icm_annealer.data.examples import consistency_of, labels_of, load_examples
from icm_annealer.data.task import Task
from icm_annealer.rules.base import Fields, Labels, Rule
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.registry import rule_of

NAMES = ["True", "False"]
RULES: list[dict[str, Any]] = [
    {"kind": "different_keys", "key": "answer", "label": "True"},
    {"kind": "same_key", "key": "answer"},
    {"kind": "at_most_one", "label": "True"},
    {"kind": "exactly_one", "label": "True"},
    {"kind": "mirrored"},
]


def rows(answers: str) -> list[Fields]:
    return [{"answer": answer} for answer in answers]


def consistency(rules: list[Rule], sizes: list[int], answers: str, names: Labels = NAMES) -> Consistency:
    groups = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return Consistency(rules, groups, rows(answers), names)


@pytest.mark.parametrize("fields", RULES, ids=lambda fields: fields["kind"])
def test_contradictions_add_up_over_groups(fields: dict[str, Any]) -> None:
    judge = consistency([rule_of(fields)], [2, 2], "abab")
    first = judge.num_contradictions(np.array([0, 0, 0, 1]))
    assert judge.num_contradictions(np.array([0, 0, 0, 0])) == 2 * first
    assert judge.num_contradictions(np.array([0, 1, 0, 1])) == 0


def test_examples_without_a_label_contradict_nothing() -> None:
    judge = consistency([rule_of(RULES[0])], [3], "abc")
    assert judge.num_contradictions(np.array([0, 0, -1])) == 1
    assert judge.num_contradictions(np.array([0, -1, -1])) == 0
    assert judge.num_contradictions(np.array([-1, -1, -1])) == 0


def test_a_group_that_is_partly_labelled_may_still_get_its_one() -> None:
    judge = consistency([rule_of(RULES[3])], [3], "abc")
    assert judge.num_contradictions(np.array([1, 1, -1])) == 0
    assert judge.num_contradictions(np.array([0, 0, -1])) == 1
    assert judge.num_contradictions(np.array([1, 1, 1])) == 1


class Released:
    """A released file as a task sees it, with its gold labels."""

    def __init__(self, name: str, rules: list[dict[str, Any]], template: str = "{choice}"):
        path = released_file(name)
        task = Task.model_validate(
            {
                "name": "released",
                "template": template,
                "labels": {"True": " True", "False": " False"},
                "gold": "label",
                "gold_values": {"1": "True", "0": "False", "true": "True", "false": "False"},
                "group": "consistency_id",
                "rules": rules,
            }
        )
        examples, gold, *_ = load_examples(path, task)
        self.judge = consistency_of(task, examples)
        self.gold = labels_of(examples, gold, task)
        assert len(self.gold) == len(json.loads(path.read_text()))


def test_truthfulqa_gold_has_several_true_claims_in_434_groups() -> None:
    released = Released("truthfulqa_train.json", [{"kind": "different_keys", "key": "choice", "label": "True"}])
    counts = released.judge.by_group(released.gold)
    assert len(counts) == 652
    assert (counts > 0).sum() == 434
    assert released.judge.num_contradictions(released.gold) == counts.sum() == 725


def test_gsm8k_gold_never_has_two_true_answers() -> None:
    rules = [{"kind": "different_keys", "key": "answer", "label": "True"}]
    released = Released("gsm8k_verification_test.json", rules, "{cot}")
    assert len(released.judge.groups) == 743
    assert released.judge.num_contradictions(released.gold) == 0


def test_gsm8k_gold_parts_the_same_answer_in_49_pairs() -> None:
    released = Released("gsm8k_verification_test.json", [{"kind": "same_key", "key": "answer"}], "{cot}")
    assert released.judge.num_contradictions(released.gold) == 49


def test_alpaca_gold_is_mirrored() -> None:
    released = Released("alpaca_test.json", [{"kind": "mirrored"}])
    assert len(released.judge.groups) == 467
    assert released.judge.num_contradictions(released.gold) == 0
