"""The lines of `labels.jsonl`, `examples.jsonl` and `costs.jsonl`. Their format is the journal's."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from icm_annealer.runs.schema.base import Record
from icm_client.contract.wire import Usage


class LabelRow(Record):
    """One example's label. People may correct `label` in the file."""

    id: str
    label: str
    probs: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """Leave-one-out, renormalised over the labels, averaged as log-probabilities over the common orders."""
    label_mass: float = Field(ge=0)
    """The total probability of all labels."""
    margin: float
    """How many nats the label scores above the next best one, in the scores that chose it."""
    group: str | None
    run: str
    known: bool = Field(default=False, exclude_if=operator.not_)
    """Whether the label was given, not found; absent from the file if not."""


class ExampleRow(Record):
    """One example of the search. Its text is not stored, since the task renders it from the fields."""

    id: str
    group: str | None
    fields: dict[str, Any]
    """The fields of the row, without the gold field."""


class CostLine(Usage):
    """The cost of one request of a run."""

    model_config = ConfigDict(
        strict=True, extra="ignore", allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )

    number: int | None = Field(validation_alias="pass", serialization_alias="pass")
    """The number of the pass; None for the rescoring at the end."""
    seconds: float
    waited: float
    """Seconds that the request added to the run; requests of one round run concurrently."""
