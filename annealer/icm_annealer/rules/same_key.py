"""The rule `same_key`. A leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from icm_annealer.rules.base import Constraint, Fields, Labels, Rule, Traits, num_pairs


class SameKey(Rule):
    """Two examples of one group with the same `key` have the same label."""

    help: ClassVar[str] = "two examples with the same value of the field `key`, labelled differently"
    traits: ClassVar[Traits] = Traits(counts_pairs=True, reveals_labels=True)

    kind: Literal["same_key"] = "same_key"
    key: str

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def read_together(self) -> tuple[str, ...]:
        return (self.key,)

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        keys = [row.get(self.key) for row in rows]
        equal = Counter(zip(keys, labels, strict=True))
        return sum(map(num_pairs, Counter(keys).values())) - sum(map(num_pairs, equal.values()))

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        """The state holds pairs of a key value and its label, for values that occur again later."""
        keys = [row.get(self.key) for row in rows]
        last = {key: number for number, key in enumerate(keys)}

        def step(known: tuple[tuple[Any, str], ...], number: int, label: str) -> tuple[tuple[Any, str], ...] | None:
            key = keys[number]
            others = tuple(pair for pair in known if pair[0] != key)
            if len(others) < len(known) and (key, label) not in known:
                return None
            return (*others, (key, label)) if last[key] > number else others

        return Constraint((), step)
