"""The rule `at_most_one`. A leaf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from icm_annealer.rules.base import Constraint, Fields, Labels, Rule, Traits, num_pairs


class AtMostOne(Rule):
    """At most one example of a group is `label`."""

    help: ClassVar[str] = "two examples that are `label`"
    traits: ClassVar[Traits] = Traits(counts_pairs=True)

    kind: Literal["at_most_one"] = "at_most_one"
    label: str

    @property
    def label_names(self) -> tuple[str, ...]:
        return (self.label,)

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        return num_pairs(sum(label == self.label for label in labels))

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        """The state is the number of examples with the label."""
        return Constraint(0, self._step)

    def _step(self, num: int, number: int, label: str) -> int | None:
        after = num + (label == self.label)
        return after if after <= 1 else None
