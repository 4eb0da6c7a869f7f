"""What a tracker has to do, and which there are. A leaf but for the trackers' own modules."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from icm_client.contract.errors import RequestError
from icm_client.http.address import shown
from icm_client.text.distribution import install_hint

LIBRARIES = {"mlflow": "mlflow", "trackio": "trackio"}
"""The tracker's name, which is also that of its extra, and what it imports."""


class Tracker(Protocol):
    """One run in a tracker. Anything may be raised: a tracker's failure is its own."""

    def begin(self, name: str, params: Mapping[str, str]) -> str:
        """Begins a run, and returns what it can be continued by."""
        ...

    def resume(self, key: str) -> None:
        """Goes on with a run that was begun before."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def end(self, state: str, facts: Mapping[str, str]) -> None:
        """The run is over; `state` is a RunRecord's, `facts` are its alarms and whatever else is no number."""
        ...


@dataclass(frozen=True)
class Target:
    """Where a run is to be shown: `mlflow[:URI]` or `trackio[:PROJECT]`."""

    kind: str
    place: str | None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises RequestError for what is not known, or not installed."""
        kind, _, place = text.partition(":")
        if kind not in LIBRARIES:
            raise RequestError(f"--track {shown(text)}: it is mlflow[:URI] or trackio[:PROJECT]")
        if importlib.util.find_spec(LIBRARIES[kind]) is None:
            raise RequestError(f"--track {kind} needs its library: {install_hint(kind)}")
        return cls(kind, place or None)

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}" if self.place else self.kind

    def shown(self) -> str:
        """Without a user and a password of its place."""
        return f"{self.kind}:{shown(self.place)}" if self.place else self.kind

    def tracker(self) -> Tracker:
        """Imports the library."""
        if self.kind == "mlflow":
            from icm_annealer.tracking.mlflow_tracker import MlflowTracker

            return MlflowTracker(self.place)
        from icm_annealer.tracking.trackio_tracker import TrackioTracker

        return TrackioTracker(self.place)
