"""The interface of a tracker, and its registration record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from icm_annealer.core.library import Library


class Tracker(Protocol):
    """One run in a tracker. Anything may be raised: a tracker's failure does not stop the run."""

    def begin(self, name: str, params: Mapping[str, str]) -> str:
        """Begins a run, and returns the key that `resume` takes."""
        ...

    def resume(self, key: str) -> None:
        """Continues a run that was begun before."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def end(self, state: str, facts: Mapping[str, str]) -> None:
        """Ends the run; `state` is that of RunRecord, `facts` are its verdict, its alarms and
        other values that are not numbers."""
        ...


@dataclass(frozen=True)
class TrackerKind:
    """One tracker that `--track NAME[:PLACE]` can name."""

    name: str
    place: str
    """What PLACE is, in one word for `--help`: URI, PROJECT."""
    open: Callable[[str | None], Tracker]
    """Makes the tracker of a PLACE; None for the library's own default. Imports the library."""
    library: Library

    @property
    def usage(self) -> str:
        return f"{self.name}[:{self.place}]"
