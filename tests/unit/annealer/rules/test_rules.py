"""What each rule counts and states, and what a rule has to say of itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from icm_annealer.data.task import Task
from icm_annealer.rules.base import Constraint, Fields, Labels, Rule, Traits
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.label_graph import label_graph
from icm_annealer.rules.python import PythonRule
from icm_annealer.rules.registry import RULES as REGISTERED
from icm_annealer.rules.registry import rule_of
from icm_client import RequestError

RULES: list[dict[str, Any]] = [
    {"kind": "different_keys", "key": "answer", "label": "True"},
    {"kind": "same_key", "key": "answer"},
    {"kind": "at_most_one", "label": "True"},
    {"kind": "exactly_one", "label": "True"},
    {"kind": "mirrored"},
]


def rows(answers: str) -> list[Fields]:
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
    assert rule_of(fields).count(rows(answers), labels(given_labels)) == count


def test_a_rule_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "house_rules.py").write_text("def none(rows, labels):\n    return labels.count('True')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = PythonRule(function="house_rules:none")
    assert own.allowed().count(rows("ab"), labels("TT")) == 2
    with pytest.raises(RequestError, match="--allow-code"):
        own.count(rows("ab"), labels("TT"))
    with pytest.raises(RequestError, match="--allow-code"):  # leave is not written down
        rule_of(own.allowed().model_dump()).count(rows("ab"), labels("TT"))


@pytest.mark.parametrize("function", ["no_such_module_here:f", "json:no_such_function"])
def test_a_rule_that_cannot_be_loaded_is_reported(function: str) -> None:
    with pytest.raises(RequestError, match="cannot be loaded"):
        PythonRule(function=function).allowed().count(rows("ab"), labels("TT"))


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
    assert rule_of(fields).count(rows(answers), labels(letters)) == expected


def test_the_samples_are_of_every_rule_that_states_a_constraint() -> None:
    stated = [rule_of(fields) for fields in RULES]
    assert {rule.kind for rule in stated} | {"python", "installed"} == set(REGISTERED)
    assert all(rule.constraint([]) is not None for rule in stated)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(RULES), st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.integers(2, 3))
def test_a_constraint_allows_what_the_count_finds_nothing_in(
    fields: dict[str, Any], answers: list[str], num_labels: int
) -> None:
    rule, names = rule_of(fields), ["True", "False", "Unknown"][:num_labels]
    group = rows("".join(answers))
    constraint = rule.constraint(group)
    assert constraint is not None
    paths: dict[int, set[tuple[int, ...]]] = {0: {()}}
    graph = label_graph([constraint], range(len(group)), names)
    for edges in graph.layers:
        further: dict[int, set[tuple[int, ...]]] = {}
        for node, label, target in edges:
            further.setdefault(target, set()).update((*path, label) for path in paths[node])
        paths = further
    allowed = paths[0] if graph.layers else set()
    ways = itertools.product(range(num_labels), repeat=len(group))
    assert allowed == {way for way in ways if rule.count(group, [names[label] for label in way]) == 0}


@pytest.mark.parametrize("fields", RULES, ids=lambda fields: fields["kind"])
def test_what_a_rule_says_of_itself_is_true(fields: dict[str, Any]) -> None:
    rule = rule_of(fields)
    assert rule.help == type(rule).help != ""
    alone = [rule.count(rows("a"), [label]) for label in ("True", "False")]
    assert rule.traits.counts_pairs == (alone == [0, 0])
    assert [*rule.keys] == [fields[name] for name in fields if name == "key"]
    assert [*rule.label_names] == [fields[name] for name in fields if name == "label"]
    partial = rule.partial()
    assert partial.count(rows("a"), ["False"]) == 0  # whatever is missing may still come
    assert partial.count(rows("ab"), ["True", "True"]) == rule.count(rows("ab"), ["True", "True"])
    assert rule.allowed() is rule
    assert rule.code is None


def test_a_rule_is_written_down_with_all_its_fields() -> None:
    task = Task(name="t", template="{a}", labels={"True": " a", "False": " b"}, group="g", rules=RULES)
    stated = task.model_dump()["rules"]
    assert stated == RULES
    assert Task.model_validate(task.model_dump()) == task
    assert [rule_of(each) for each in stated] == task.rules
    assert rule_of(task.rules[0]) is task.rules[0]


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"kind": "no_such"}, r"no rule has the kind 'no_such' \(there are: different_keys, .*python, installed"),
        ({}, "no rule has the kind None"),
        ({"kind": ["mirrored"]}, "no rule has the kind"),
        ("mirrored", "a rule is stated as fields"),
        ({"kind": "same_key"}, "same_key: key: Field required"),
        ({"kind": "mirrored", "key": "x"}, "mirrored: key: no such field"),
    ],
)
def test_a_rule_that_is_stated_wrongly(stated: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rule_of(stated)
    with pytest.raises(ValidationError, match=says):
        Task.model_validate({"name": "t", "template": "{a}", "labels": {"a": " a", "b": " b"}, "rules": [stated]})


class Silent(Rule):
    """A rule whose author forgot the constraint."""

    kind: Literal["silent"] = "silent"

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        return max(0, labels.count("True") - 1)


class Counted(Silent):
    """The same, with a word on it."""

    def constraint(self, rows: Sequence[Fields]) -> Constraint | None:
        return None


class Careless(Silent):
    """The same, with a constraint that forbids nothing."""

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        return Constraint((), lambda state, number, label: state)


class AtMost(Silent):
    """The same, with a right one, and of single examples' groups too."""

    traits: ClassVar[Traits] = Traits(counts_pairs=True)

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        return Constraint(0, lambda num, _, label: None if num and label == "True" else num + (label == "True"))


def best(rule: Rule, num: int) -> list[int]:
    """The labels of a group of so many examples that all look True."""
    judge = Consistency([rule], [np.arange(num)], [{}] * num, ["True", "False"])
    return judge.best(np.tile([1.0, 0.0], (num, 1))).tolist()


def test_a_rule_without_a_constraint_cannot_be_made() -> None:
    with pytest.raises(TypeError, match=r"abstract method '?constraint"):
        Silent()  # type: ignore[abstract]


@pytest.mark.parametrize("num", [1, 2, 8, 9, 17])
def test_no_rule_is_passed_over(num: int) -> None:
    for rule in (AtMost(), Counted()):
        assert best(rule, num).count(0) == 1


def test_a_large_group_needs_a_constraint() -> None:
    assert best(AtMost(), 600).count(0) == 1
    with pytest.raises(RequestError, match=r"group of 18 examples '0', '1', '2', \.\.\. .*rule 'silent' states no"):
        best(Counted(), 18)


@pytest.mark.parametrize("num", [2, 8, 9, 600])
def test_a_constraint_that_allows_what_is_counted_is_an_error(num: int) -> None:
    with pytest.raises(RequestError, match=r"the rule 'silent' allows labels .* \(in the group of '0'\)"):
        best(Careless(), num)
