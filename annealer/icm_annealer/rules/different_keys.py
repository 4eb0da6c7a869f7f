"""The rule `different_keys`. A leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from icm_annealer.rules.base import Constraint, Fields, Labels, Rule, Traits, num_pairs


class DifferentKeys(Rule):
    """Two examples of one group with different values of `key` cannot both be `label` (two answers, both true)."""

    help: ClassVar[str] = "two examples with different values of the field `key`, both `label`"
    traits: ClassVar[Traits] = Traits(counts_pairs=True)

    kind: Literal["different_keys"] = "different_keys"
    key: str
    label: str

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def label_names(self) -> tuple[str, ...]:
        return (self.label,)

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        keys = Counter(row.get(self.key) for row, label in zip(rows, labels, strict=True) if label == self.label)
        return num_pairs(keys.total()) - sum(map(num_pairs, keys.values()))

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        """The state is a tuple with the key value that has the label, empty until one has it."""
        keys = [row.get(self.key) for row in rows]

        def step(chosen: tuple[Any, ...], number: int, label: str) -> tuple[Any, ...] | None:
            if label != self.label:
                return chosen
            return (keys[number],) if chosen in ((), (keys[number],)) else None

        return Constraint((), step)
