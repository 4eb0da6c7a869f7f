"""The lines of `labels.jsonl`, `examples.jsonl` and `costs.jsonl`. Their format is the journal's."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field

from icm_annealer.runs.schema.base import Record
from icm_annealer.runs.schema.review import Decision
from icm_client.contract.wire import Usage

Probs = dict[str, Annotated[float, Field(ge=0, le=1)]]
"""A probability for each label of the task, in the task's order; they sum to 1."""


class LabelRow(Record):
    """One example's label. People may correct `label` in the file."""

    id: str
    label: str
    probs: Probs
    """The probabilities that the label was chosen by: the softmax of the labels' scores, which are means over passes.
    Without rules, the label found has the highest. For a search without scores, the same as `context_probs`."""
    margin: float
    """How many nats the label found scores above the next best one, in the same scores."""
    context_probs: Probs
    """Leave-one-out: behind the other examples with the labels found. Averaged as log-probabilities over the common
    orders, then renormalised over the labels."""
    label_mass: float = Field(ge=0)
    """The total probability of all labels in those contexts, before it was renormalised."""
    group: str | None
    run: str
    known: bool = Field(default=False, exclude_if=operator.not_)
    """Whether the label was given, not found; absent from the file if not."""
    found: str | None = Field(default=None, exclude=True)
    """The search's label. Not in the file; `RunRecord` reads it from the journal."""
    decision: Decision | None = Field(default=None, exclude=True)
    """The last decision about the row in a review, if there is one. Not in this file."""

    def with_decision(self, decision: Decision) -> Self:
        """The row of the file, with the label that was decided in a review if the decision stands."""
        label = decision.label if decision.stands(self.label) else self.label
        return self.model_copy(update={"label": label, "decision": decision})

    @property
    def is_changed(self) -> bool:
        """Whether a person gave the row another label than the search, in a review or in the file."""
        return self.found is not None and self.label != self.found

    @property
    def is_accepted(self) -> bool:
        """Whether a review kept the search's label."""
        return not self.is_changed and self.decision is not None and self.decision.label == self.label

    @property
    def is_decided(self) -> bool:
        """Whether a person decided the label."""
        return self.is_changed or self.is_accepted

    @property
    def is_superseded(self) -> bool:
        """Whether the file was edited after the review, so that the decision no longer stands."""
        return self.decision is not None and self.decision.label not in (None, self.label)

    @property
    def certainty(self) -> float:
        """The probability of the label in `probs`, from 0 to 1; 1 for a label that a person knew or decided."""
        return 1.0 if self.known or self.is_decided else self.probs[self.label]

    @property
    def certainty_found(self) -> float:
        """The same of the search's label, whatever people decided."""
        return 1.0 if self.known else self.probs[self.found or self.label]

    @property
    def rank(self) -> tuple[float, float]:
        """The key that sorts rows by certainty; the margin decides where rounded probabilities are equal."""
        return self.certainty, self.margin


class ExampleRow(Record):
    """One example of the search. Its text is not stored, since the task renders it from the fields."""

    id: str
    group: str | None
    fields: dict[str, Any]
    """The fields of the row, without the gold field and without others whose values are label names."""


class SkippedRow(Record):
    """One bad row that was skipped, as it stands in the data, with its gold label if it has one."""

    where: str
    what: str
    """What is wrong with it."""
    row: Any
    """Its fields, or its text if it has none."""


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
