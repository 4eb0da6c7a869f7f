"""Rules count contradicting pairs; the best consistent labels are the best of all."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.released import released_file

from icm_annealer.consistency import Consistency, Facts, Labels, Rule
from icm_annealer.examples import consistency_of, labels_of, load_examples
from icm_annealer.task import Task
from icm_client import RequestError

NAMES = ["True", "False"]
RULES: list[dict[str, Any]] = [
    {"kind": "different_keys", "key": "answer", "label": "True"},
    {"kind": "same_key", "key": "answer"},
    {"kind": "at_most_one", "label": "True"},
    {"kind": "exactly_one", "label": "True"},
    {"kind": "mirrored"},
]


def rule(**fields: Any) -> Rule:
    return TypeAdapter(Rule).validate_python(fields)


def facts(answers: str) -> list[Facts]:
    return [{"answer": answer} for answer in answers]


def labels(text: str) -> list[str]:
    return [{"T": "True", "F": "False"}[letter] for letter in text]


@pytest.mark.parametrize(
    ("fields", "answers", "given_labels", "count"),
    [
        (RULES[0], "abc", "TTT", 3),
        (RULES[0], "abc", "TFT", 1),
        (RULES[0], "aab", "TTF", 0),
        (RULES[0], "aab", "TTT", 2),
        (RULES[0], "abc", "FFF", 0),
        (RULES[1], "aab", "TFT", 1),
        (RULES[1], "aab", "TTF", 0),
        (RULES[1], "aaa", "TFF", 2),
        (RULES[2], "abcd", "FFFF", 0),
        (RULES[2], "abcd", "TFFF", 0),
        (RULES[2], "abcd", "TTTF", 3),
        (RULES[3], "abcd", "FFFF", 1),
        (RULES[3], "abcd", "FTFF", 0),
        (RULES[3], "abcd", "TTFT", 3),
        (RULES[4], "ab", "TT", 1),
        (RULES[4], "ab", "FF", 1),
        (RULES[4], "ab", "TF", 0),
    ],
)
def test_counts_by_hand(fields: dict[str, Any], answers: str, given_labels: str, count: int) -> None:
    assert rule(**fields).count(facts(answers), labels(given_labels)) == count


def test_a_rule_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "house_rules.py").write_text("def none(facts, labels):\n    return labels.count('True')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert rule(kind="python", function="house_rules:none").count(facts("ab"), labels("TT")) == 2


@pytest.mark.parametrize("function", ["no_such_module_here:f", "json:no_such_function"])
def test_a_rule_that_cannot_be_loaded_is_told(function: str) -> None:
    with pytest.raises(RequestError, match="cannot be loaded"):
        rule(kind="python", function=function).count(facts("ab"), labels("TT"))


def consistency(rules: list[Rule], sizes: list[int], answers: str, names: Labels = NAMES) -> Consistency:
    groups = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return Consistency(rules, groups, facts(answers), names)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(RULES), max_size=2),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(2, 3),
    st.integers(0, 2**32),
)
def test_best_equals_brute_force(fields: list[dict[str, Any]], sizes: list[int], num_labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [*NAMES, "Unknown"][:num_labels]
    answers = "".join(rng.choice(list("abc"), sum(sizes)))
    rules = [rule(**each) for each in fields]
    judge = consistency(rules, sizes, answers, names)
    scores = rng.normal(size=(sum(sizes), num_labels))
    best = judge.best(scores)
    for group in judge.groups:
        group_facts = [{"answer": answers[i]} for i in group]

        def rank(
            state: tuple[int, ...], group: Any = group, group_facts: list[Facts] = group_facts
        ) -> tuple[int, float]:
            # A group of one breaks a rule on pairs never, but may break "exactly one".
            contradictions = sum(each.count(group_facts, [names[c] for c in state]) for each in rules)
            return contradictions, -float(scores[group, list(state)].sum())

        states = itertools.product(range(num_labels), repeat=len(group))
        assert tuple(best[group].tolist()) == min(states, key=rank)


@pytest.mark.parametrize("fields", RULES, ids=lambda fields: fields["kind"])
def test_contradictions_add_up_over_groups(fields: dict[str, Any]) -> None:
    judge = consistency([rule(**fields)], [2, 2], "abab")
    first = judge.num_contradictions(np.array([0, 0, 0, 1]))
    assert judge.num_contradictions(np.array([0, 0, 0, 0])) == 2 * first
    assert judge.num_contradictions(np.array([0, 1, 0, 1])) == 0


def test_examples_without_a_label_contradict_nothing() -> None:
    judge = consistency([rule(**RULES[0])], [3], "abc")
    assert judge.num_contradictions(np.array([0, 0, -1])) == 1
    assert judge.num_contradictions(np.array([0, -1, -1])) == 0
    assert judge.num_contradictions(np.array([-1, -1, -1])) == 0


def test_a_group_that_is_partly_labelled_may_still_get_its_one() -> None:
    judge = consistency([rule(**RULES[3])], [3], "abc")
    assert judge.num_contradictions(np.array([1, 1, -1])) == 0
    assert judge.num_contradictions(np.array([0, 0, -1])) == 1
    assert judge.num_contradictions(np.array([1, 1, 1])) == 1


def test_a_group_too_large_to_enumerate_is_told() -> None:
    with pytest.raises(RequestError, match="group of 18 examples with 2 labels"):
        consistency([rule(kind="mirrored")], [18], "a" * 18)


def test_a_large_group_without_rules_is_fine() -> None:
    assert consistency([], [40], "a" * 40).best(np.zeros((40, 2))).tolist() == [0] * 40


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
        examples, gold = load_examples(path, task)
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
