"""One fine-tuning, from labelled examples to a folder that transformers, peft and vLLM load."""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from dataclasses import dataclass
from pathlib import Path

from icm_annealer.console.progress import RunProgress
from icm_annealer.runs.directory import RunDir
from icm_trainer.learning.checkpoint import LogRow, remove_checkpoint
from icm_trainer.learning.disk import check_room
from icm_trainer.learning.schedule import Schedule
from icm_trainer.learning.training import Training
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.device import use_threads
from icm_trainer.models.lora import check_rank, num_lora_parameters, with_adapter
from icm_trainer.sft.card import model_card
from icm_trainer.sft.labelled import LabelSet
from icm_trainer.sft.objective import LabelObjective
from icm_trainer.sft.record import (
    CARD,
    CHECKPOINT,
    TRAINING,
    BaseRecord,
    LabelsRecord,
    SftRecord,
    SftResult,
    UsedLabel,
    read_record,
)
from icm_trainer.sft.rows import TrainingRows, training_rows
from icm_trainer.sft.saving import merge, prepare_folder, save_weights
from icm_trainer.sft.settings import SftSettings

CHECKPOINT_S = 60.0
MAX_CHECKPOINT_SHARE = 0.05
"""The most of the time that checkpoints take, if they are large."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
COPIES = 8
"""Of the trained parameters: weights, two moments and the best weights, in the old checkpoint and the new one."""


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

    def prepare(self, *, resume: bool = False, overwrite: bool = False) -> Prepared:
        """Checks everything that can be known before a training, and makes the folder ready. Raises RequestError."""
        self.labels.check()
        if not self.settings.full:
            check_rank(self.base, self.settings.rank)
        rows = training_rows(self.labels, self.base, self.settings)
        schedule = Schedule(
            len(rows.learnt), self.settings.rate, self.settings.epochs, self.settings.batch, self.settings.seed
        )
        record = self._record(rows, schedule)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        check_room(
            self.out if self.out.is_dir() else self.out.parent,
            self._needed_bytes(),
            "a training, with its checkpoints,",
        )
        has_ended = prepare_folder(self.out, record, self._used(rows), resume=resume, overwrite=overwrite)
        return Prepared(self, rows, schedule, record, has_ended)

    def _record(self, rows: TrainingRows, schedule: Schedule) -> SftRecord:
        versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft")}
        return SftRecord(
            base=BaseRecord(
                name=self.base.name, folder=str(self.base.folder), digest=self.base.digest, dtype=self.base.dtype
            ),
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
            versions=versions,
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

    def _needed_bytes(self) -> int:
        base_bytes = self.base.sizes.all * BYTES.get(self.base.dtype, 4)
        if self.settings.full:
            return COPIES * 4 * self.base.sizes.all + base_bytes
        num = num_lora_parameters(self.base, self.settings.rank)
        return (COPIES + 1) * 4 * num + base_bytes * self.merges


@dataclass(frozen=True)
class Prepared:
    """A training that can begin, or go on. Create it with `SftJob.prepare`."""

    job: SftJob
    rows: TrainingRows
    schedule: Schedule
    record: SftRecord
    has_ended: bool
    """Whether the folder holds the result already."""

    async def run(self, progress: RunProgress) -> SftRecord:
        """Trains, and writes the model and its card. If cancelled, it saves a checkpoint first, after the current step.

        Raises RequestError if the loss diverges.
        """
        job, settings = self.job, self.job.settings
        if not self.has_ended:
            training = self._training(progress)
            await self._learn(training, progress)
            training.take_best()
            progress.status("writing the model")
            save_weights(training.model, job.base.folder, job.out, job.base.dtype if settings.full else None)
            self._write_result(SftResult(steps=training.step, best=training.best, seconds=training.seconds,
                                         log=training.log))  # fmt: skip
            remove_checkpoint(job.out / CHECKPOINT)
        ended = read_record(job.out)
        if job.merges and not settings.full:
            progress.status("merging the adapter into the base model")
            merge(job.out, ended, job.base.folder)
        return ended

    def _training(self, progress: RunProgress) -> Training:
        import torch

        job, settings = self.job, self.job.settings
        use_threads(settings.threads)
        torch.manual_seed(settings.seed)
        progress.status(f"loading {job.base.name}")
        model = job.base.load(settings.base_dtype, settings.device)
        if not settings.full:
            model = with_adapter(model, settings.rank, settings.alpha)
        training = Training(model, LabelObjective(model, self.rows), self.schedule, settings.micro_batch)
        if training.restore(job.out / CHECKPOINT):
            progress.status(f"going on after step {training.step:,}")
        return training

    async def _learn(self, training: Training, progress: RunProgress) -> None:
        progress.expect(self.schedule.num_steps - training.step)
        saved, saving_s = time.monotonic(), 0.0
        folder = self.job.out / CHECKPOINT
        try:
            while not training.is_finished:
                seen = training.learn()
                progress.step()
                if seen is not None:
                    progress.status(_shown(seen, self.schedule.num_steps))
                if time.monotonic() - saved >= max(self.job.checkpoint_s, saving_s / MAX_CHECKPOINT_SHARE):
                    start = time.monotonic()
                    training.save(folder)
                    saved = time.monotonic()
                    saving_s = saved - start
                await asyncio.sleep(0)  # where Ctrl-C takes effect
        except asyncio.CancelledError:
            training.save(folder)
            raise

    def _write_result(self, result: SftResult) -> None:
        folder = RunDir(self.job.out)
        folder.write_text(CARD, model_card(self.record, result))
        folder.write(TRAINING, self.record.model_copy(update={"result": result}))


def _shown(row: LogRow, num_steps: int) -> str:
    text = f"step {row.step:,} of {num_steps:,}, epoch {row.epoch:.1f}: loss {row.loss:.3f}"
    if row.held_out_loss is None:
        return text
    return f"{text}, held out {row.held_out_loss:.3f}, agreement {row.held_out_agreement:.3f}"
