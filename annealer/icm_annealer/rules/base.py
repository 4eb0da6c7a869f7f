"""The base class of rules. A rule counts contradictions and states a constraint that rules them out. A leaf.

A rule looks at the labels of one group. It counts contradicting unordered pairs: I(D) of the paper.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

Fields = dict[str, Any]
"""The fields of a row, without the gold field."""
Labels = Sequence[str]
"""Label names."""


def _anything(_: Any) -> bool:
    return True


@dataclass(frozen=True)
class Constraint:
    """The labellings of one group that a rule allows, as an automaton that reads one label after another.

    Constraint programming calls it a regular constraint (Pesant 2004). Fewer states allow larger groups, so a state
    should hold only what a later label can contradict.
    """

    start: Hashable
    """The state before the first label."""
    step: Callable[[Any, int, str], Hashable]
    """`step(state, number, label)`: the state after example `number` of the group gets this label, or None if that
    contradicts an earlier label."""
    end: Callable[[Any], bool] = _anything
    """Whether a complete labelling may end in this state."""


class Traits(NamedTuple):
    """Properties of a rule. The defaults are safe: with them no contradiction is missed."""

    counts_pairs: bool = False
    """It counts pairs only, so a single example never contradicts it."""
    needs_group: bool = True
    """A task with this rule must name its group field."""
    reveals_labels: bool = False
    """The other labels of a group can determine an example's label."""
    compares_two: bool = False
    """The label compares two things, and the group holds both orders."""


class Rule(BaseModel):
    """A rule of a task. A task file sets its fields.

    To add a rule, write a subclass with a `kind`, fields, `count` and `constraint`; the rest has defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    help: ClassVar[str] = ""
    """One line that says what counts as a contradiction within a group."""
    traits: ClassVar[Traits] = Traits()

    kind: str

    @abstractmethod
    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        """The number of contradictions in one group, given the `rows` and `labels` of its examples in the same
        order."""

    @abstractmethod
    def constraint(self, rows: Sequence[Fields]) -> Constraint | None:
        """The constraint that labels of a group with these rows must satisfy for `count` to be 0. `step` receives the
        index of an example in `rows`. None means that the rule states no constraint: all labellings of the group are
        then tried, and larger groups are an error.
        """

    @property
    def title(self) -> str:
        """The rule's name in messages."""
        return self.kind

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields of a row whose values the rule compares."""
        return ()

    @property
    def read_together(self) -> tuple[str, ...]:
        """Fields by which to sort the examples of a group: `constraint` has fewer states if examples with equal values
        are read one after another. The constraint must be correct in any order."""
        return ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that the rule names."""
        return ()

    @property
    def code(self) -> str | None:
        """The code that the task file names, which runs only with permission; None if there is none."""
        return None

    def allowed(self) -> Self:
        """A copy of the rule with permission to run its `code`."""
        return self

    def check(self) -> None:
        """Checks things outside the task that the fields refer to. Raises RequestError."""

    def partial(self) -> Rule:
        """The rule to apply while some examples of a group have no label. It receives only the labelled examples, and
        missing labels must not count as contradictions."""
        return self

    def odd_groups(self, sizes: Counter[int], num_labels: int) -> list[str]:
        """Warnings about the group sizes, one line each. `sizes` maps a group size to the number of groups."""
        return []


def num_pairs(num: int) -> int:
    """The number of unordered pairs of `num` things."""
    return num * (num - 1) // 2
