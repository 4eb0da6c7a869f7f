"""Rules that installed packages register as entry points `icm.rules`."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from icm_annealer.rules.base import Constraint, Fields, Labels, Rule, Traits
from icm_annealer.rules.function import FunctionRule, run_foreign
from icm_client.contract.entry_points import EntryPointGroup
from icm_client.contract.errors import RequestError
from icm_client.text.validation import first_error

INSTALLED = EntryPointGroup("icm.rules", "rule", object)
"""The rules of installed packages: subclasses of Rule, and functions."""


class InstalledRule(Rule):
    """`{rule: name, ...}`: a rule of an installed package, by the name that the package gives it.

    The package registers a subclass of `Rule`, which receives all other fields, or a function like that of the rule
    `python`, which receives them as keyword arguments. It is loaded on first use, so a saved task can be read where
    the package is missing. Installing the package counts as permission to run its code.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    help: ClassVar[str] = "what a rule counts that an installed package registers"

    kind: Literal["installed"] = "installed"
    rule: str = Field(min_length=1, max_length=200)
    _loaded: Rule | None = PrivateAttr(default=None)

    @property
    def title(self) -> str:
        return self.rule

    @property
    def options(self) -> dict[str, Any]:
        """The rule's fields in the task file."""
        return dict(self.model_extra or {})

    def check(self) -> None:
        """Raises RequestError if no installed package, or more than one, has a rule of this name, or if it cannot be
        loaded, or does not take these fields."""
        try:
            json.dumps(self.options, allow_nan=False)  # a run saves them as JSON
        except (TypeError, ValueError):
            raise RequestError(f"{self.rule} has a field that is neither text nor number: quote it") from None
        self._their.check()

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        return int(run_foreign(self.title, self._their.count, rows, labels))

    def constraint(self, rows: Sequence[Fields]) -> Constraint | None:
        stated: Constraint | None = run_foreign(self.title, self._their.constraint, rows)
        if stated is None:
            return None
        return Constraint(
            stated.start, partial(run_foreign, self.title, stated.step), partial(run_foreign, self.title, stated.end)
        )

    @property
    def traits(self) -> Traits:  # type: ignore[override]  # those of the package's rule
        return self._their.traits

    @property
    def keys(self) -> tuple[str, ...]:
        return self._their.keys

    @property
    def read_together(self) -> tuple[str, ...]:
        return self._their.read_together

    @property
    def label_names(self) -> tuple[str, ...]:
        return self._their.label_names

    def partial(self) -> Rule:
        return self._their.partial()

    def odd_groups(self, sizes: Counter[int], num_labels: int) -> list[str]:
        return self._their.odd_groups(sizes, num_labels)

    @property
    def _their(self) -> Rule:
        if self._loaded is None:
            self._loaded = _their_rule(self.rule, _registered(self.rule), self.options)
        return self._loaded


class _InstalledFunction(FunctionRule):
    """A function that an installed package registers."""

    kind: str
    _call: Callable[..., Any] = PrivateAttr()

    def function_of(self) -> Callable[..., Any]:
        return self._call


def _registered(name: str) -> object:
    """The class or function that is registered under the name."""
    found = INSTALLED.load(name)
    if found is None:
        known = ", ".join(INSTALLED.names()) or "none"
        raise RequestError(f"no installed package has a rule {name!r} (there are: {known})", code="bad_rule")
    return found


def _their_rule(name: str, loaded: Any, options: dict[str, Any]) -> Rule:
    if not inspect.isclass(loaded):
        function = _InstalledFunction(kind=name)
        function._call = partial(loaded, **options)
        return function
    if not issubclass(loaded, Rule):
        raise RequestError(f"the rule {name!r} is a class that is no icm_annealer.rules.base.Rule", code="bad_rule")
    missing = ", ".join(sorted(loaded.__abstractmethods__))
    if missing:
        raise RequestError(f"the rule {name!r} cannot be used: its class defines no {missing}", code="bad_rule")
    try:
        return loaded.model_validate({"kind": name, **options})
    except ValidationError as error:
        raise RequestError(f"the rule {name!r}: {first_error(error)}", code="bad_rule") from None
