"""Where a run is to be shown."""

from __future__ import annotations

from dataclasses import dataclass

from icm_annealer.tracking.base import Tracker
from icm_annealer.tracking.registry import find_tracker
from icm_client.http.address import shown


@dataclass(frozen=True)
class Target:
    """A tracker's name, and a place that it understands."""

    kind: str
    place: str | None

    @classmethod
    def parse(cls, text: str) -> Target:
        """`NAME[:PLACE]`. Raises RequestError for a tracker that is unknown or not installed."""
        kind, _, place = text.partition(":")
        find_tracker(kind)
        return cls(kind, place or None)

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}" if self.place else self.kind

    def shown(self) -> str:
        """Without a user and a password of its place."""
        return f"{self.kind}:{shown(self.place)}" if self.place else self.kind

    def tracker(self) -> Tracker:
        """Imports the library."""
        return find_tracker(self.kind).open(self.place)
