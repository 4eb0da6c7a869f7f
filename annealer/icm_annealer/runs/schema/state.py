"""`rescore.json` and `tracking.json`: what a later process needs in order not to do the same again."""

from __future__ import annotations

from pydantic import Field

from icm_annealer.runs.schema.base import Versioned


class RescoreState(Versioned):
    """Log-probabilities [query, label], raw, of a part of a run's last pass."""

    first: list[list[float]]
    again: list[list[float]] | None
    """None if the scorer was not asked again, since it had answered the pass from its memory."""


class TrackingState(Versioned):
    """What a tracker has been shown of a run."""

    target: str
    key: str
    """The run's key in the tracker."""
    last: int = Field(ge=0)
    """The last pass."""
    journal: int = Field(ge=0)
    costs: int = Field(ge=0)
    """Bytes of both files."""
