"""Logical consistency: what may not be labelled together, and the best labels that may.

Labels of one group are judged together. A rule counts contradicting pairs, I(D) of the paper, over unordered pairs.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from icm_annealer.arrays import Array, Ints
from icm_client.errors import RequestError

Facts = dict[str, Any]
Labels = Sequence[str]

MAX_ENUMERATED = 200_000
"""Groups with more label states than this are not searched exhaustively."""


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DifferentKeys(_Rule):
    """Two examples of one group whose `key` differs cannot both be `label` (two answers, both true)."""

    kind: Literal["different_keys"]
    key: str
    label: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        keys = [fact.get(self.key) for fact, label in zip(facts, labels, strict=True) if label == self.label]
        return sum(a != b for a, b in itertools.combinations(keys, 2))


class SameKey(_Rule):
    """Two examples of one group whose `key` agrees have the same label."""

    kind: Literal["same_key"]
    key: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        pairs = itertools.combinations(zip(facts, labels, strict=True), 2)
        return sum(f.get(self.key) == g.get(self.key) and a != b for (f, a), (g, b) in pairs)


class AtMostOne(_Rule):
    """At most one example of a group is `label`."""

    kind: Literal["at_most_one"]
    label: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        chosen = sum(label == self.label for label in labels)
        return chosen * (chosen - 1) // 2


class ExactlyOne(_Rule):
    """Exactly one example of a group is `label`; none at all counts as one contradiction.

    A group that is only partly labelled may still get its one.
    """

    kind: Literal["exactly_one"]
    label: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        chosen = sum(label == self.label for label in labels)
        return chosen * (chosen - 1) // 2 if chosen else 1


class Mirrored(_Rule):
    """The examples of a group are each other's opposites: no two have the same label."""

    kind: Literal["mirrored"]

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        return sum(a == b for a, b in itertools.combinations(labels, 2))


class PythonRule(_Rule):
    """`module:function`, called with the group's facts and labels, returns the number of contradictions.

    The module is code that the user names in their own task file; it runs with the user's rights.
    """

    kind: Literal["python"]
    function: str = Field(pattern=r"^[\w.]+:\w+$")

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        return int(self._load()(list(facts), list(labels)))

    def _load(self) -> Callable[[list[Facts], list[str]], int]:
        module, name = self.function.split(":")
        try:
            loaded: Callable[[list[Facts], list[str]], int] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise RequestError(f"the rule {self.function!r} cannot be loaded: {error}", code="bad_rule") from None
        return loaded


Rule = Annotated[DifferentKeys | SameKey | AtMostOne | ExactlyOne | Mirrored | PythonRule, Field(discriminator="kind")]


class Consistency:
    """The rules of one task over one dataset.

    `groups` holds the example numbers of each group; examples without a group are groups of one.
    """

    def __init__(self, rules: Sequence[Rule], groups: Sequence[Ints], facts: Sequence[Facts], names: Labels):
        self.groups = list(groups)
        self._rules, self._facts, self._names = rules, facts, names
        self._partial_rules = [
            AtMostOne(kind="at_most_one", label=rule.label) if isinstance(rule, ExactlyOne) else rule for rule in rules
        ]
        self._states: dict[int, Ints] = {}
        if rules:
            for number, group in enumerate(self.groups):
                if len(group) > 1 or any(isinstance(rule, ExactlyOne | PythonRule) for rule in rules):
                    self._states[number] = self._consistent_states(group)

    def num_contradictions(self, labels: Ints) -> int:
        """I(D): contradicting pairs over all groups; examples labelled -1 (not yet) take no part."""
        return int(self.by_group(labels).sum())

    def by_group(self, labels: Ints) -> Ints:
        """The contradicting pairs within each group."""
        counts = np.zeros(len(self.groups), dtype=np.int64)
        for number in self._states:
            counts[number] = self._count(self.groups[number], labels)
        return counts

    def best(self, scores: Array) -> Ints:
        """The labels with the highest total score among those without contradiction, group by group, exactly.

        `scores` is [example, label]. Where a group has no consistent labels at all, the least contradictory win.
        """
        labels: Ints = scores.argmax(axis=1)
        for number, states in self._states.items():
            group = self.groups[number]
            totals = scores[group[None, :], states].sum(axis=1)
            labels[group] = states[int(totals.argmax())]
        return labels

    def _count(self, group: Ints, labels: Ints) -> int:
        known = [int(i) for i in group if labels[i] >= 0]
        facts, names = [self._facts[i] for i in known], [self._names[labels[i]] for i in known]
        rules = self._rules if len(known) == len(group) else self._partial_rules
        return sum(rule.count(facts, names) for rule in rules) if known else 0

    def _consistent_states(self, group: Ints) -> Ints:
        num_labels = len(self._names)
        if num_labels ** len(group) > MAX_ENUMERATED:
            raise RequestError(
                f"a group of {len(group)} examples with {num_labels} labels has too many label states to search "
                f"exactly (more than {MAX_ENUMERATED}); use smaller groups",
                code="group_too_large",
            )
        states = np.array(list(itertools.product(range(num_labels), repeat=len(group))), dtype=np.int64)
        facts = [self._facts[i] for i in group]
        counts = np.array(
            [sum(rule.count(facts, [self._names[c] for c in state]) for rule in self._rules) for state in states]
        )
        consistent: Ints = states[counts == counts.min()]
        return consistent
