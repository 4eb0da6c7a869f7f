"""One training of a reward model, from pairs to a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icm_annealer.data.task import Task
from icm_trainer.learning.schedule import Schedule
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.lora import check_rank
from icm_trainer.rm.card import model_card
from icm_trainer.rm.objective import PairObjective
from icm_trainer.rm.pairing import PairOptions
from icm_trainer.rm.pairs import PairSet
from icm_trainer.rm.record import PairsRecord, RmRecord, UsedPair
from icm_trainer.rm.rows import PairRows, pair_rows
from icm_trainer.sft.prepared import CHECKPOINT_S, Prepared, base_record, schedule_of, versions
from icm_trainer.sft.settings import SftSettings


@dataclass(frozen=True)
class RmJob:
    """What is learnt, from what, and where to."""

    pairs: PairSet
    base: BaseModel
    settings: SftSettings
    out: Path
    options: PairOptions
    """How the pairs were made of labels."""
    of_task: Task | None = None
    """Whose labels these were; None for a file of preferences."""
    merges: bool = False
    """Whether the adapter is also merged into the base's weights, in `out/merged`."""
    checkpoint_s: float = CHECKPOINT_S

    def prepare(self, *, resume: bool = False, overwrite: bool = False) -> Prepared[RmRecord]:
        """Checks everything that can be known before a training, and makes the folder ready. Raises RequestError."""
        self.pairs.check()
        if not self.settings.full:
            check_rank(self.base, self.settings.rank)
        rows = pair_rows(self.pairs, self.base, self.settings)
        schedule = schedule_of(self.settings, len(rows.learnt))
        record = self._record(rows, schedule)
        prepared = Prepared(
            record=record,
            base=self.base,
            schedule=schedule,
            objective=lambda model: PairObjective(model, rows, record.better_number),
            card=model_card,
            out=self.out,
            merges=self.merges,
            checkpoint_s=self.checkpoint_s,
        )
        used = (
            UsedPair(**pair.model_dump(), held_out=bool(held_out))
            for pair, held_out in zip(self.pairs.pairs, rows.is_held_out, strict=True)
        )
        return prepared.ready(used, resume=resume, overwrite=overwrite)

    def _record(self, rows: PairRows, schedule: Schedule) -> RmRecord:
        given = self.pairs
        return RmRecord(
            base=base_record(self.base),
            task=given.form,
            settings=self.settings,
            better=given.better,
            pairs=PairsRecord(
                digest=given.digest,
                origin=given.origin,
                options=self.options,
                of_task=self.of_task,
                num=len(given.pairs),
                num_first=given.num_first,
                num_held_out=len(rows.held_out),
                num_cut=rows.num_cut,
            ),
            versions=versions(),
            num_steps=schedule.num_steps,
        )
