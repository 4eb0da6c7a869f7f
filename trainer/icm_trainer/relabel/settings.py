"""The settings of a relabelling."""

from __future__ import annotations

import math

from pydantic import Field

from icm_annealer.runs.schema.base import Record
from icm_trainer.sft.settings import SftSettings

MIN_STEPS = 24
"""A model that is tuned on few labels goes over them until it has made so many steps."""


class RelabelSettings(Record):
    """All that determines the labels, besides the base model, the examples, and the labels to start from."""

    folds: int = Field(default=2, ge=2, le=64)
    """Parts that the examples are dealt to in a round; each is labelled by a model tuned on the others."""
    rounds: int = Field(default=3, ge=1, le=100)
    """The most rounds. A round judges the labels that it learns from, and proposes the next ones."""
    trust: float = Field(default=1.0, gt=0, le=1)
    """The share of each label's rows that a model learns from: those with the largest margins."""
    batches: int = Field(default=1, ge=1, le=1000)
    """In how many steps rows are labelled that have no label at the start; each multiplies the labelled rows by the
    same factor."""
    sft: SftSettings

    def tuning(self, num_labels: int) -> SftSettings:
        """The settings of a training on so many labels."""
        steps_per_epoch = math.ceil(num_labels / self.sft.batch)
        return self.sft.model_copy(update={"epochs": max(self.sft.epochs, float(MIN_STEPS / steps_per_epoch))})
