"""The rule `exactly_one`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from icm_annealer.rules.at_most_one import AtMostOne
from icm_annealer.rules.base import Constraint, Fields, Labels, Rule, Traits


class ExactlyOne(Rule):
    """Exactly one example of a group is `label`; none at all counts as one contradiction.

    While a group is only partly labelled, having none is not a contradiction.
    """

    help: ClassVar[str] = "two examples that are `label`; or none, when all are labelled"
    traits: ClassVar[Traits] = Traits(reveals_labels=True)

    kind: Literal["exactly_one"] = "exactly_one"
    label: str

    @property
    def label_names(self) -> tuple[str, ...]:
        return (self.label,)

    def partial(self) -> AtMostOne:
        return AtMostOne(label=self.label)

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        return self.partial().count(rows, labels) if self.label in labels else 1

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        """The constraint of `at_most_one` that must end with exactly one example labelled so."""
        at_most = self.partial().constraint(rows)
        return Constraint(at_most.start, at_most.step, end=lambda num: bool(num == 1))
