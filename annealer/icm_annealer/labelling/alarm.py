"""The class of alarms, and the registration record of each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from icm_annealer.data.examples import Example
from icm_annealer.runs.schema.metrics import alarm_page
from icm_annealer.search.base import Problem, Result

Level = Literal["warning", "note"]
Evidence = TypeVar("Evidence")


@dataclass(frozen=True)
class Alarm:
    """`warning`: the labels are probably not what you want. `note`: worth checking, but may be genuine.

    `observation` says what was measured, `advice` what to do about it; `code` names the alarm in the docs.

    Examples:
        >>> import icm_annealer as icm
        >>> print(icm.Alarm("example", "note", "U is low.", "Try a larger model."))
        U is low. Try a larger model.
    """

    code: str
    level: Level
    observation: str
    advice: str

    def __str__(self) -> str:
        return f"{self.observation} {self.advice}"

    @property
    def line(self) -> str:
        """The alarm as commands print it, with its code and the place in the documentation that explains it."""
        return f"{self.level} {self.code}: {self} ({alarm_page(self.code)})"


class AlarmText(NamedTuple):
    """The text of an alarm: what was measured, and what to do about it."""

    observation: str
    advice: str


class FinishedSearch(NamedTuple):
    """The input of a search's alarms. It holds no gold labels."""

    problem: Problem
    result: Result
    examples: Sequence[Example]
    num_dropped: int
    """Shots that did not fit the window, in the pass that dropped the most."""
    is_stopped: bool = False
    """Whether the search was stopped at its budget."""


@dataclass(frozen=True)
class AlarmKind(Generic[Evidence]):
    """A kind of alarm, listed in `alarms.py`."""

    code: str
    level: Level
    help: str
    """When it is raised, for the table of alarms in the documentation."""
    check: Callable[[Evidence], AlarmText | None]

    def raised(self, evidence: Evidence) -> list[Alarm]:
        """The alarm, if the check raises it; else an empty list."""
        seen = self.check(evidence)
        return [Alarm(self.code, self.level, *seen)] if seen else []
