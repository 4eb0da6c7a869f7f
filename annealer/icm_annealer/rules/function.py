"""Rules that are plain functions, and calls of foreign code whose failures become one-line errors. A leaf."""

from __future__ import annotations

import operator
import traceback
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from icm_annealer.rules.base import Fields, Labels, Rule, Traits
from icm_client.contract.errors import RequestError


def run_foreign(title: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls foreign code and returns its result. Raises RequestError with the rule's title and the failing line."""
    try:
        return function(*arguments)
    except RequestError:  # already a one-line error
        raise
    except Exception as error:  # foreign code can raise anything
        frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
        place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
        raise RequestError(
            f"the rule {title!r} failed: {place}{type(error).__name__}: {error}", code="bad_rule"
        ) from None


def load_foreign(title: str, load: Callable[[], Any]) -> Any:
    """Calls `load`, which imports foreign code. Raises RequestError if it raises anything."""
    try:
        return load()
    except Exception as error:
        raise RequestError(f"the rule {title!r} cannot be loaded: {error}", code="bad_rule") from None


class FunctionRule(Rule):
    """A function that is called with a group's rows and labels, and returns the number of contradictions.

    Only its return value is known, so it states no constraint.
    """

    traits: ClassVar[Traits] = Traits(needs_group=False)

    @abstractmethod
    def function_of(self) -> Callable[..., Any]:
        """The function. Raises RequestError if it cannot be loaded."""

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        """Raises RequestError where the function cannot be loaded, raises something, or returns no whole number."""
        counted = run_foreign(self.title, self.function_of(), list(rows), list(labels))
        return int(run_foreign(self.title, operator.index, counted))

    def constraint(self, rows: Sequence[Fields]) -> None:
        return None
