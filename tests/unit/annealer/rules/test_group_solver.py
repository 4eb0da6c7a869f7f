"""The best labels that contradict none, against trying all: for every rule, and for rules of this test's own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.core.arrays import Array
from icm_annealer.rules.base import Constraint, Fields, Labels, Rule
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.label_graph import reading_order
from icm_annealer.rules.registry import rule_of
from icm_client import RequestError


class NoRun(Rule):
    """No two examples in a row have the label "True", and their number is even: order and end matter."""

    kind: Literal["no_run"] = "no_run"

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        runs = sum(one == other == "True" for one, other in itertools.pairwise(labels))
        return runs + labels.count("True") % 2

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        def step(state: tuple[bool, bool], number: int, label: str) -> tuple[bool, bool] | None:
            is_true, (was_true, is_odd) = label == "True", state
            return None if was_true and is_true else (is_true, is_odd ^ is_true)

        return Constraint((False, False), step, end=lambda state: not state[1])


class Dearest(Rule):
    """Of the examples with one `other`, no more than two are "False": what the rows say matters."""

    kind: Literal["dearest"] = "dearest"

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        false = [row["other"] for row, label in zip(rows, labels, strict=True) if label == "False"]
        return sum(max(0, false.count(other) - 2) for other in set(false))

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        def step(state: tuple[str, ...], number: int, label: str) -> tuple[str, ...] | None:
            after = tuple(sorted([*state, rows[number]["other"]])) if label == "False" else state
            return after if all(after.count(other) <= 2 for other in after) else None

        return Constraint((), step)


class Odd(Rule):
    """The labels "True" are odd in number; states no constraint."""

    kind: Literal["odd"] = "odd"

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        return 1 - labels.count("True") % 2

    def constraint(self, rows: Sequence[Fields]) -> None:
        return None


NAMES = ["True", "False", "Unknown", "Both"]
STATED: list[Rule] = [
    *map(
        rule_of,
        [
            {"kind": "different_keys", "key": "answer", "label": "True"},
            {"kind": "different_keys", "key": "other", "label": "True"},
            {"kind": "different_keys", "key": "answer", "label": "False"},
            {"kind": "same_key", "key": "answer"},
            {"kind": "same_key", "key": "other"},
            {"kind": "at_most_one", "label": "True"},
            {"kind": "at_most_one", "label": "False"},
            {"kind": "exactly_one", "label": "True"},
            {"kind": "exactly_one", "label": "Unknown"},
            {"kind": "mirrored"},
        ],
    ),
    Dearest(),
]
ORDERED: list[Rule] = [rule for rule in STATED if not rule.read_together] + [NoRun()]
"""Rules under which a group is read in the data's order."""
Group = list[tuple[str, str]]
GROUPS = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=5), min_size=1, max_size=3
)


def solved(rules: list[Rule], keys: list[Group], names: Labels, scores: Array) -> list[tuple[int, ...]]:
    """The best labels of each group."""
    ends = np.cumsum([len(group) for group in keys])
    groups = np.split(np.arange(ends[-1]), ends[:-1])
    labels = Consistency(rules, groups, [row for group in keys for row in rows_of(group)], names).best(scores)
    return [tuple(labels[group].tolist()) for group in groups]


def rows_of(group: Group) -> list[Fields]:
    return [{"answer": answer, "other": other} for answer, other in group]


def tried(rules: list[Rule], group: Group, names: Labels, scores: Array) -> tuple[int, ...]:
    """The first of the best by trying all: the fewest contradictions, then the highest total."""

    def rank(way: tuple[int, ...]) -> tuple[int, float]:
        count = sum(rule.count(rows_of(group), [names[label] for label in way]) for rule in rules)
        return count, -float(scores[np.arange(len(way)), list(way)].sum())

    return min(itertools.product(range(len(names)), repeat=len(group)), key=rank)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(STATED), max_size=3), GROUPS, st.integers(3, 4), st.integers(0, 2**32))
def test_the_best_of_all_is_found(rules: list[Rule], keys: list[Group], num_labels: int, seed: int) -> None:
    names = NAMES[:num_labels]
    scores = np.random.default_rng(seed).normal(size=(sum(map(len, keys)), num_labels))
    parts = np.split(scores, np.cumsum([len(group) for group in keys])[:-1])
    expected = [tried(rules, group, names, part) for group, part in zip(keys, parts, strict=True)]
    assert solved(rules, keys, names, scores) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*ORDERED, Odd()]), min_size=1, max_size=3), GROUPS, st.integers(0, 2**32))
def test_of_equals_the_first_is_taken(rules: list[Rule], keys: list[Group], seed: int) -> None:
    names = NAMES[:3]
    scores = np.random.default_rng(seed).integers(-1, 2, size=(sum(map(len, keys)), 3)).astype(float)
    parts = np.split(scores, np.cumsum([len(group) for group in keys])[:-1])
    expected = [tried(rules, group, names, part) for group, part in zip(keys, parts, strict=True)]
    assert solved(rules, keys, names, scores) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), max_size=12))
def test_what_shares_a_value_is_read_together(keys: Group) -> None:
    order = reading_order(["answer"], rows_of(keys))
    assert sorted(order) == list(range(len(keys)))
    answers = [keys[number][0] for number in order]
    assert [answer for answer, _ in itertools.groupby(answers)] == list(dict.fromkeys(answer for answer, _ in keys))
    assert reading_order([], rows_of(keys)) == list(range(len(keys)))


def stated(**fields: Any) -> Rule:
    return rule_of(fields)


def test_large_groups_keep_their_rules() -> None:
    rng = np.random.default_rng(0)
    answers, others = (rng.integers(100, size=600).astype(str).tolist() for _ in range(2))
    keys = list(zip(answers, others, strict=True))
    scores = rng.normal(size=(600, 2))
    (best,) = solved([stated(kind="different_keys", key="answer", label="True")], [keys], NAMES[:2], scores)
    gain = np.maximum(scores[:, 0] - scores[:, 1], 0)
    gains = [gain[[answer == chosen for answer in answers]].sum() for chosen in set(answers)]
    assert scores[np.arange(600), best].sum() == pytest.approx(scores[:, 1].sum() + max(gains))
    same = stated(kind="same_key", key="answer")
    (best,) = solved([same], [keys], NAMES[:2], scores)
    sums = [scores[[answer == chosen for answer in answers]].sum(axis=0) for chosen in set(answers)]
    assert scores[np.arange(600), best].sum() == pytest.approx(sum(each.max() for each in sums))
    (best,) = solved([same, stated(kind="same_key", key="other")], [keys], NAMES[:2], scores)  # all are linked
    assert best == (int(scores.sum(axis=0).argmax()),) * 600


def test_opposites_among_many_labels_are_the_best_assignment() -> None:
    names = [f"label {k}" for k in range(9)]
    order = np.random.default_rng(1).permutation(9)
    scores = -np.abs(np.arange(9)[:, None] - order[None, :]).astype(float)
    (best,) = solved([stated(kind="mirrored")], [[("a", "x")] * 9], names, scores)
    assert np.array(best)[order].tolist() == list(range(9))
    scores = np.zeros((30, 9))
    scores[:, 3] = -1.0 - np.arange(30) % 7
    (best,) = solved([stated(kind="exactly_one", label="label 3")], [[("a", "x")] * 30], names, scores)
    assert best.count(3) == 1
    assert scores[np.arange(30), best].sum() == -1.0


@pytest.mark.parametrize(
    ("fields", "num_labels", "says"),
    [
        ({"kind": "mirrored"}, 2, "no labels keep the rule 'mirrored'"),
        ({"kind": "python", "function": "json:loads"}, 2, "the rule 'json:loads' states no constraint"),
        ({"kind": "mirrored"}, 60, "the rule 'mirrored' leaves too much open"),
    ],
)
def test_a_large_group_that_cannot_be_solved_is_reported(fields: dict[str, Any], num_labels: int, says: str) -> None:
    names, group = [f"label {k}" for k in range(num_labels)], np.arange(20, 60)
    ids = [f"row {number}" for number in range(60)]
    where = f"the group of 40 examples 'row 20', 'row 21', 'row 22', ... with {num_labels} labels: {says}"
    with pytest.raises(RequestError) as raised:
        Consistency([rule_of(fields)], [group], [{}] * 60, names, ids)
    assert raised.value.message.startswith(where)
    assert "\n" not in raised.value.message


def test_a_large_group_without_rules_is_fine() -> None:
    assert solved([], [[("a", "x")] * 40], NAMES, np.zeros((40, 4))) == [(0,) * 40]
