"""One fine-tuning, from labelled examples to a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icm_trainer.learning.schedule import Schedule
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.lora import check_rank
from icm_trainer.sft.card import model_card
from icm_trainer.sft.labelled import LabelSet
from icm_trainer.sft.objective import LabelObjective
from icm_trainer.sft.prepared import CHECKPOINT_S, Prepared, base_record, schedule_of, versions
from icm_trainer.sft.record import LabelsRecord, SftRecord, UsedLabel
from icm_trainer.sft.rows import TrainingRows, training_rows
from icm_trainer.sft.settings import SftSettings


@dataclass(frozen=True)
class SftJob:
    """What is learnt, from what, and where to."""

    labels: LabelSet
    base: BaseModel
    settings: SftSettings
    out: Path
    merges: bool = False
    """Whether the adapter is also merged into the base's weights, in `out/merged`."""
    checkpoint_s: float = CHECKPOINT_S

    def prepare(self, *, resume: bool = False, overwrite: bool = False) -> Prepared[SftRecord]:
        """Checks everything that can be known before a training, and makes the folder ready. Raises RequestError."""
        self.labels.check()
        if not self.settings.full:
            check_rank(self.base, self.settings.rank)
        rows = training_rows(self.labels, self.base, self.settings)
        schedule = schedule_of(self.settings, len(rows.learnt))
        prepared = Prepared(
            record=self._record(rows, schedule),
            base=self.base,
            schedule=schedule,
            objective=lambda model: LabelObjective(model, rows),
            card=model_card,
            out=self.out,
            merges=self.merges,
            checkpoint_s=self.checkpoint_s,
        )
        return prepared.ready(self._used(rows), resume=resume, overwrite=overwrite)

    def _record(self, rows: TrainingRows, schedule: Schedule) -> SftRecord:
        return SftRecord(
            base=base_record(self.base),
            task=self.labels.task,
            settings=self.settings,
            labels=LabelsRecord(
                digest=self.labels.digest,
                origin=self.labels.origin,
                counts=self.labels.counts,
                num_held_out=len(rows.held_out),
                num_left_out=self.labels.num_left_out,
                num_cut=rows.num_cut,
            ),
            versions=versions(),
            num_steps=schedule.num_steps,
        )

    def _used(self, rows: TrainingRows) -> list[UsedLabel]:
        return [
            UsedLabel(
                id=row.example.id,
                text=row.example.text,
                label=row.label,
                group=row.example.group,
                certainty=row.certainty,
                margin=row.margin,
                held_out=bool(held_out),
            )
            for row, held_out in zip(self.labels.rows, rows.is_held_out, strict=True)
        ]
