"""The rules of logical consistency: what may not be labelled together. A leaf.

Labels of one group are judged together. A rule counts contradicting pairs, I(D) of the paper, over unordered pairs.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_client.errors import RequestError

Facts = dict[str, Any]
Labels = Sequence[str]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DifferentKeys(_Rule):
    """Two examples of one group whose `key` differs cannot both be `label` (two answers, both true)."""

    kind: Literal["different_keys"]
    key: str
    label: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        keys = Counter(fact.get(self.key) for fact, label in zip(facts, labels, strict=True) if label == self.label)
        return _pairs(keys.total()) - sum(map(_pairs, keys.values()))


class SameKey(_Rule):
    """Two examples of one group whose `key` agrees have the same label."""

    kind: Literal["same_key"]
    key: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        keys = [fact.get(self.key) for fact in facts]
        equal = Counter(zip(keys, labels, strict=True))
        return sum(map(_pairs, Counter(keys).values())) - sum(map(_pairs, equal.values()))


class AtMostOne(_Rule):
    """At most one example of a group is `label`."""

    kind: Literal["at_most_one"]
    label: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        return _pairs(sum(label == self.label for label in labels))


class ExactlyOne(_Rule):
    """Exactly one example of a group is `label`; none at all counts as one contradiction.

    A group that is only partly labelled may still get its one.
    """

    kind: Literal["exactly_one"]
    label: str

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        chosen = sum(label == self.label for label in labels)
        return _pairs(chosen) if chosen else 1


class Mirrored(_Rule):
    """The examples of a group are each other's opposites: no two have the same label."""

    kind: Literal["mirrored"]

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        return sum(map(_pairs, Counter(labels).values()))


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


def _pairs(num: int) -> int:
    """Unordered pairs of that many things."""
    return num * (num - 1) // 2
