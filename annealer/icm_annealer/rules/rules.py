"""The rules of logical consistency: what may not be labelled together. A leaf.

Labels of one group are judged together. A rule counts contradicting pairs, I(D) of the paper, over unordered pairs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import operator
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from icm_client.contract.errors import RequestError

ALLOW_CODE = "which runs with your rights: look at it, and allow it with --allow-code if you trust who wrote it"
"""What is said of code that a task file names."""
GROUP = "icm.rules"
"""The entry points by which installed packages register rules."""

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


class FunctionRule(_Rule):
    """A function, called with the group's facts and labels, returns the number of contradictions."""

    _function: Callable[..., int] | None = PrivateAttr(default=None)

    @property
    def called(self) -> str:
        """The function's name for people."""
        raise NotImplementedError

    @property
    def options(self) -> dict[str, Any]:
        """What the task file gives the function besides."""
        return {}

    def count(self, facts: Sequence[Facts], labels: Labels) -> int:
        """Raises RequestError where the function cannot be loaded, raises something, or counts nothing."""
        if self._function is None:
            self._function = self._loaded()
        try:
            return operator.index(self._function(list(facts), list(labels), **self.options))
        except Exception as error:  # code of somebody else: of any kind
            raise RequestError(
                f"the rule {self.called!r} failed: {_last_place(error)}{type(error).__name__}: {error}", code="bad_rule"
            ) from None

    def _loaded(self) -> Callable[..., int]:
        try:
            return self._load()
        except RequestError:
            raise
        except Exception as error:  # whatever a module does when it is imported
            raise RequestError(f"the rule {self.called!r} cannot be loaded: {error}", code="bad_rule") from None

    def _load(self) -> Callable[..., int]:
        raise NotImplementedError


class PythonRule(FunctionRule):
    """`module:function`, of any module that Python finds.

    A task file that names code is as good as a program, so it is run only for who has said so: nothing is even
    imported before `allowed` was called.
    """

    kind: Literal["python"]
    function: str = Field(pattern=r"^[\w.]+:\w+$")
    _is_allowed: bool = PrivateAttr(default=False)

    def allowed(self) -> Self:
        """The rule with leave to run its code. What is written down of it, and read again, has none."""
        rule = self.model_copy()
        rule._is_allowed = True
        return rule

    @property
    def called(self) -> str:
        return self.function

    def _load(self) -> Callable[..., int]:
        if not self._is_allowed:
            raise RequestError(f"the rule {self.function!r} is code, {ALLOW_CODE}", code="code_not_allowed")
        module, name = self.function.split(":")
        loaded: Callable[..., int] = getattr(importlib.import_module(module), name)
        return loaded


class InstalledRule(FunctionRule):
    """`{rule: name, ...}`: a function that an installed package registers in the entry points `icm.rules`.

    Whoever installed the package has chosen its code, so it needs no leave. All other fields are given to the function
    by name.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: Literal["installed"] = "installed"
    rule: str = Field(min_length=1, max_length=200)

    @property
    def called(self) -> str:
        return self.rule

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def check(self) -> None:
        """Raises RequestError if no installed package, or more than one, has a rule of this name; imports nothing."""
        self._entry_point()

    def _load(self) -> Callable[..., int]:
        loaded: Callable[..., int] = self._entry_point().load()
        return loaded

    def _entry_point(self) -> importlib.metadata.EntryPoint:
        every = importlib.metadata.entry_points(group=GROUP)
        found = sorted({point.value: point for point in every if point.name == self.rule}.items())
        if len(found) == 1:
            return found[0][1]
        if found:
            raise RequestError(
                f"several installed packages have a rule {self.rule!r}: {', '.join(value for value, _ in found)}",
                code="bad_rule",
            )
        known = ", ".join(sorted({point.name for point in every})) or "none"
        raise RequestError(f"no installed package has a rule {self.rule!r} (there are: {known})", code="bad_rule")


def _named(rule: Any) -> Any:
    """A rule of an installed package may go without `kind`: it has a name."""
    return {"kind": "installed", **rule} if isinstance(rule, dict) and "rule" in rule else rule


Rule = Annotated[
    DifferentKeys | SameKey | AtMostOne | ExactlyOne | Mirrored | PythonRule | InstalledRule,
    Field(discriminator="kind"),
    BeforeValidator(_named),
]


def _last_place(error: Exception) -> str:
    """Where it was raised, for who wrote the function."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""


def _pairs(num: int) -> int:
    """Unordered pairs of that many things."""
    return num * (num - 1) // 2
