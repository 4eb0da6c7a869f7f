"""What a rule is: it counts contradictions, and it states the constraints that labels without any satisfy. A leaf.

The labels of one group are judged together. A rule counts contradicting pairs, I(D) of the paper, over unordered pairs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

Facts = dict[str, Any]
"""The fields of a row, without the gold field."""
Labels = Sequence[str]
"""Label names."""


def _anything(_: Any) -> bool:
    return True


@dataclass(frozen=True)
class Constraint:
    """The labels that a rule allows one group, as an automaton that reads them one after another.

    Constraint programming calls it a regular constraint (Pesant 2004). The fewer states, the larger the groups that
    can be solved: a state holds no more than later labels can contradict.
    """

    start: Hashable
    """The state before the first label."""
    step: Callable[[Any, int, str], Hashable]
    """`step(state, number, label)`: the state after example `number` of the group got this label, or None if that
    contradicts what was read before."""
    end: Callable[[Any], bool] = _anything
    """Whether the labels may end in this state."""


class Traits(NamedTuple):
    """What a rule is like. The defaults are the ones that cannot miss a contradiction."""

    counts_pairs: bool = False
    """It counts pairs only, so that a single example never contradicts."""
    needs_group: bool = True
    """A task with this rule has to name its group field."""
    reveals_labels: bool = False
    """A label can be read off the other labels of the group."""
    compares_two: bool = False
    """The label says which of two things is better, and the group has both orders."""


class Rule(BaseModel):
    """A rule of a task. Its fields are what a task file gives it.

    A rule of one's own is a subclass with a `kind`, its fields, `count` and `constraint`; the rest has defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    help: ClassVar[str] = ""
    """What contradicts within a group, in a line."""
    traits: ClassVar[Traits] = Traits()

    kind: str

    @abstractmethod
    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        """The contradictions of one group: `facts` and `labels` of its examples, in the same order."""

    @abstractmethod
    def constraint(self, facts: Sequence[Facts]) -> Constraint | None:
        """What the labels of a group with these facts have to satisfy for `count` to be 0; `step` is called with the
        places of the examples in `facts`. None says that it cannot be stated: the labels of a group are then found by
        trying all, and larger groups are an error.
        """

    @property
    def title(self) -> str:
        """The rule's name for people."""
        return self.kind

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields of a row whose values the rule compares."""
        return ()

    @property
    def read_together(self) -> tuple[str, ...]:
        """Fields of which examples with equal values are best read one after another: `constraint` then has fewer
        states. It must be right in any order."""
        return ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that the rule names."""
        return ()

    @property
    def code(self) -> str | None:
        """The code that the task file names and that runs only with leave; None if there is none."""
        return None

    def allowed(self) -> Self:
        """The rule with leave to run its `code`."""
        return self

    def check(self) -> None:
        """Looks at what the fields name outside of the task. Raises RequestError."""

    def partial(self) -> Rule:
        """The rule that a group keeps as long as some of its examples have no label: one that is not broken for want
        of labels. It is given the labelled examples alone."""
        return self

    def odd_groups(self, sizes: Counter[int], num_labels: int) -> list[str]:
        """What looks wrong with groups of these sizes, in lines for a person. `sizes`: how many groups have a size."""
        return []


def num_pairs(num: int) -> int:
    """Unordered pairs of that many things."""
    return num * (num - 1) // 2
