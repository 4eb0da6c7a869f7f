"""`relabelling.json`: the evidence by round, without gold."""

from __future__ import annotations

from icm_annealer.runs.schema.base import Record, Versioned
from icm_annealer.runs.schema.metrics import AlarmRecord
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.sft.labelled import Origin
from icm_trainer.sft.record import BaseRecord

RELABELLING, PAGE, TUNING = "relabelling.json", "relabelling.html", "tuning"
"""The figures, the page, and the folder of trainings in progress."""
MARGIN_SHARES = (0.1, 0.25, 0.5, 0.75)


class BatchFigures(Record):
    """Rows that were labelled by a model that learnt from all labels before them."""

    num: int
    label_rates: dict[str, float]
    """Of the labels after it."""


class RoundFigures(Record):
    """A round: the labels that it learnt from, and judged."""

    num_learnt: int
    """How many of the labels were trusted."""
    u: float
    """Of the judged labels, by models that learnt from the other folds; nats per example."""
    u_se: float
    """Over the examples."""
    agreement: float
    """The share of the judged labels that these models answer; known labels are left out."""
    fold_agreement: list[float]
    label_rates: dict[str, float]
    """Of the judged labels."""
    change: float
    """The share of examples that it proposes another label for."""
    proposed_rates: dict[str, float]
    margins: list[float]
    """How many nats the proposed labels are above the next best ones: quantiles at `MARGIN_SHARES`."""


class RelabelRecord(Versioned):
    """All figures of a finished relabelling."""

    task: str
    base: BaseRecord
    settings: RelabelSettings
    origin: Origin
    num_examples: int
    num_labelled: int
    """How many had a label at the start."""
    num_known: int
    batches: list[BatchFigures]
    rounds: list[RoundFigures]
    taken: int
    """The number of the round, from 1, whose judged labels are the result, or which they settled from."""
    is_settled: bool
    num_changed: int
    """Labels of the start that the result has not."""
    alarms: list[AlarmRecord]
