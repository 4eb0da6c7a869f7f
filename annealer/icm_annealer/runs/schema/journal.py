"""The lines of `journal.jsonl`: a header, passes, an end. The header's format is that of all JSON lines of a run.

Users can edit a journal, and its answers become labels, so lines are checked as strictly as a scorer's responses.
"""

from __future__ import annotations

import operator
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, field_serializer

from icm_annealer.core.objective import Measure
from icm_annealer.data.task import Task
from icm_annealer.runs.schema.base import Record, Versioned
from icm_annealer.runs.schema.verdict import VerdictName
from icm_client.contract.wire import ModelIdentity

StoppedBy = Literal["tokens", "minutes"]
"""The budget at which a search was stopped."""


class RunSettings(Record):
    """A run's settings. The search's options are in `model_extra`, since the package of the search may not be installed
    where the file is read."""

    model_config = ConfigDict(extra="allow")

    search: str
    plan: str | None = None
    seed: int
    measure: Measure | None = None
    alpha: float
    model: str


class ContextWindow(Record):
    """The window that contexts must fit. With another window, the same request has other contexts."""

    max_prompt_tokens: int = Field(ge=1)
    cache_block_tokens: int = Field(ge=1)


class RunHeader(Versioned):
    """The first line: everything that must be the same when a run is resumed."""

    kind: Literal["start"] = "start"
    settings: RunSettings
    task: Task
    """The task without the gold field and without descriptions; with the field of known labels and the values in it,
    for further rows."""
    data: str
    """The digest of all data that the search uses."""
    model: ModelIdentity
    window: ContextWindow
    ids: list[str]
    """The ids of the examples, in order."""
    known: dict[str, str] | None = None
    """Known labels by example id; None if no label is known."""
    start: dict[str, str] | None = None
    """Labels that the search started from, by example id; None if it has its own start."""

    @field_serializer("task")
    def _seen(self, task: Task) -> dict[str, Any]:
        how = task.model_dump(include={"known", "gold_values", "no_label"}, exclude_defaults=True)
        return task.seen() | (how if task.known else {})


class RequestLine(Record):
    """The request of a pass."""

    purpose: str
    plan: str
    labels: list[int]
    """Label number by example; -1 for an example that is in no context."""
    queries: Literal["all"] | list[int]
    order: Literal["data"] | list[int]
    hidden: list[int] = Field(default_factory=list, exclude_if=operator.not_)
    """Examples whose shots are left out of all contexts; absent from the file if there are none."""


class PassLine(Record):
    """One answered pass."""

    kind: Literal["pass"] = "pass"
    number: int = Field(ge=1)
    u: float | None
    """None for a pass whose queries are not in its context."""
    predictability: float | None
    num_contradictions: int
    temperature: float | None
    label_rates: list[float]
    request: RequestLine
    num_dropped: int = Field(ge=0)
    num_stops: int = Field(default=0, ge=0, exclude_if=operator.not_)
    """How often the search had been stopped before; absent from the file if never. A process with a larger budget drops
    these passes and goes on."""
    logprobs: list[list[float]]
    """[query, label], raw."""


class WeighedCandidate(NamedTuple):
    """A candidate of the end line; a list in JSON."""

    starts: list[str]
    u: float
    u_se: float


class EndLine(Record):
    """The last line of a finished run."""

    kind: Literal["end"] = "end"
    labels: list[int]
    u: float
    u_se: float
    candidates: list[WeighedCandidate]
    alarms: list[str]
    """The codes of the alarms."""
    verdict: VerdictName
    stopped: StoppedBy | None = Field(default=None, exclude_if=operator.not_)
    """The budget at which the search was stopped; absent from the file if it came to its end."""
