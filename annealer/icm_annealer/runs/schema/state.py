"""`rescore.json`, `started.json` and `tracking.json`: state with which a later process goes on."""

from __future__ import annotations

from pydantic import Field

from icm_annealer.runs.schema.base import Versioned


class RescoreState(Versioned):
    """Raw log-probabilities [query, label] of a part of a run's last pass."""

    first: list[list[float]]
    again: list[list[float]] | None
    """None if the pass was not scored again, since the scorer had answered it from its cache of answers."""


class TrackingState(Versioned):
    """How much of a run has been sent to a tracker."""

    target: str
    key: str
    """The run's key in the tracker."""
    last: int = Field(ge=0)
    """The last pass."""
    journal: int = Field(ge=0)
    costs: int = Field(ge=0)
    """Bytes read from both files."""


class StartState(Versioned):
    """How a run reaches its scorer, for the process that resumes it, and where its task and data lay, for an
    evaluation. It holds no secret."""

    scorer: str | None
    """The scorer's name; None if its address holds a user and password."""
    engine: str
    scorer_model: str | None
    api_key_file: str | None
    experiment: str
    track: str | None
    task: str | None = None
    """The path of the task file, if it was one."""
    data: str | None = None
    """The path of the file that was named beside the task, if it can be read again as it is."""
