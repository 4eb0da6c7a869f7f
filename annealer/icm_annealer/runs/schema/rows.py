"""The lines of `labels.jsonl`, `examples.jsonl` and `costs.jsonl`. Their format is the journal's."""

from __future__ import annotations

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
    """The probability of all labels together."""
    margin: float
    """By how many nats the label is likelier than the next best one, by what it was chosen by."""
    group: str | None
    run: str


class ExampleRow(Record):
    """One example as the search saw it. Its text is left out: the task renders it again from the fields."""

    id: str
    group: str | None
    fields: dict[str, Any]
    """The row without its gold field, as the user's data hold it."""


class CostLine(Usage):
    """What one request of a run cost."""

    model_config = ConfigDict(
        strict=True, extra="ignore", allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True
    )

    number: int | None = Field(validation_alias="pass", serialization_alias="pass")
    """Of the pass; None for the rescoring at the end."""
    seconds: float
    waited: float
    """Seconds by which the request made the run longer: requests of one round are sent side by side."""
