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
from icm_annealer.rules.rules import Facts, Labels, PythonRule, Rule
from pydantic import TypeAdapter
from tests.released import released_file

from icm_annealer.data.examples import consistency_of, labels_of, load_examples
from icm_annealer.data.task import Task
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.group_solver import AllLabels, ChosenLabels
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
    own = PythonRule(kind="python", function="house_rules:none")
    assert own.allowed().count(facts("ab"), labels("TT")) == 2
    with pytest.raises(RequestError, match="--allow-code"):
        own.count(facts("ab"), labels("TT"))
    with pytest.raises(RequestError, match="--allow-code"):  # leave is not written down
        rule(**own.allowed().model_dump()).count(facts("ab"), labels("TT"))


@pytest.mark.parametrize("function", ["no_such_module_here:f", "json:no_such_function"])
def test_a_rule_that_cannot_be_loaded_is_told(function: str) -> None:
    with pytest.raises(RequestError, match="cannot be loaded"):
        PythonRule(kind="python", function=function).allowed().count(facts("ab"), labels("TT"))


def consistency(rules: list[Rule], sizes: list[int], answers: str, names: Labels = NAMES) -> Consistency:
    groups = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return Consistency(rules, groups, facts(answers), names)


@given(st.sampled_from(RULES), st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("TF")), max_size=12))
def test_counts_are_of_unordered_pairs(fields: dict[str, Any], given_pairs: list[tuple[str, str]]) -> None:
    def contradict(one: tuple[str, str], other: tuple[str, str]) -> bool:
        (a, x), (b, y) = one, other
        if fields["kind"] == "same_key":
            return a == b and x != y
        both = x == y if fields["kind"] == "mirrored" else x == y == "T"
        return both and (a != b or fields["kind"] != "different_keys")

    expected = sum(contradict(*pair) for pair in itertools.combinations(given_pairs, 2))
    if fields["kind"] == "exactly_one" and not any(label == "T" for _, label in given_pairs):
        expected = 1
    answers, letters = ("".join(each) for each in (zip(*given_pairs, strict=True) if given_pairs else ("", "")))
    assert rule(**fields).count(facts(answers), labels(letters)) == expected


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


KEYED: list[dict[str, Any]] = [
    *RULES,
    {"kind": "different_keys", "key": "other", "label": "True"},
    {"kind": "different_keys", "key": "answer", "label": "False"},
    {"kind": "same_key", "key": "other"},
    {"kind": "at_most_one", "label": "False"},
    {"kind": "exactly_one", "label": "Unknown"},
]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(KEYED), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=5),
    st.integers(3, 4),
    st.integers(0, 2**32),
)
def test_choosing_finds_what_trying_all_finds(
    fields: list[dict[str, Any]], keys: list[tuple[str, str]], num_labels: int, seed: int
) -> None:
    names = [*NAMES, "Unknown", "Both"][:num_labels]
    rules = [rule(**each) for each in fields]
    given_facts: list[Facts] = [{"answer": answer, "other": other} for answer, other in keys]
    scores = np.random.default_rng(seed).normal(size=(len(keys), num_labels))

    def judged(found: Any) -> tuple[int, float]:
        count = sum(each.count(given_facts, [names[c] for c in found]) for each in rules)
        return count, float(scores[np.arange(len(keys)), found].sum())

    count, total = judged(AllLabels(rules, given_facts, names).best(scores))
    if count:
        with pytest.raises(RequestError, match="no labels keep all rules"):
            ChosenLabels(rules, given_facts, names)
    else:
        assert judged(ChosenLabels(rules, given_facts, names).best(scores)) == pytest.approx((0, total))


def test_large_groups_keep_their_rules() -> None:
    rng = np.random.default_rng(0)
    answers = [str(k) for k in rng.integers(100, size=600)]
    scores = rng.normal(size=(600, 2))
    judge = Consistency([rule(**RULES[0])], [np.arange(600)], [{"answer": answer} for answer in answers], NAMES)
    best = judge.best(scores)
    assert judge.num_contradictions(best) == 0
    gain = np.maximum(scores[:, 0] - scores[:, 1], 0)
    gains = [gain[[answer == chosen for answer in answers]].sum() for chosen in set(answers)]
    assert scores[np.arange(600), best].sum() == pytest.approx(scores[:, 1].sum() + max(gains))
    judge = Consistency([rule(**RULES[1])], [np.arange(600)], [{"answer": answer} for answer in answers], NAMES)
    assert judge.num_contradictions(judge.best(scores)) == 0


def test_opposites_among_many_labels_are_the_best_assignment() -> None:
    names = [f"label {k}" for k in range(9)]
    judge = Consistency([rule(kind="mirrored")], [np.arange(9)], facts("a" * 9), names)
    order = np.random.default_rng(1).permutation(9)
    assert judge.best(-np.abs(np.arange(9)[:, None] - order[None, :]).astype(float))[order].tolist() == list(range(9))
    one = rule(kind="exactly_one", label="label 3")
    judge = Consistency([one], [np.arange(30)], facts("a" * 30), names)
    scores = np.zeros((30, 9))
    scores[:, 3] = -1.0 - np.arange(30) % 7
    best = judge.best(scores)
    assert (best == 3).sum() == 1
    assert scores[np.arange(30), best].sum() == -1.0


@pytest.mark.parametrize(
    ("fields", "names", "says"),
    [
        (RULES[4], NAMES, "no labels keep all rules"),
        ({"kind": "python", "function": "json:loads"}, NAMES, "a rule that is a function is known by trying all"),
        ({"kind": "mirrored"}, [f"label {k}" for k in range(60)], "leave too much open"),
    ],
)
def test_a_large_group_that_nothing_solves_is_told(fields: dict[str, Any], names: list[str], says: str) -> None:
    with pytest.raises(RequestError, match=f"a group of 40 examples with {len(names)} labels .*{says}"):
        Consistency([rule(**fields)], [np.arange(40)], facts("a" * 40), names)


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
        examples, gold, _ = load_examples(path, task)
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
