"""A training that can begin, or go on: the same for everything that is learnt, to a folder that transformers, peft and
vLLM load."""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from icm_annealer.console.progress import RunProgress
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.schema.base import Record
from icm_trainer.learning.checkpoint import LogRow, remove_checkpoint
from icm_trainer.learning.disk import check_room
from icm_trainer.learning.schedule import PATIENCE, Schedule
from icm_trainer.learning.training import Choice, Objective, Training
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.device import use_threads
from icm_trainer.models.lora import num_lora_parameters, with_adapter
from icm_trainer.sft.record import CARD, CHECKPOINT, TRAINING, BaseRecord, RecordT, TrainingResult, read_record
from icm_trainer.sft.saving import begin_training, check_apart, merge, prepare_folder, save_weights
from icm_trainer.sft.settings import SftSettings, TrainingSettings

CHECKPOINT_S = 60.0
MAX_CHECKPOINT_SHARE = 0.05
"""The most of the time that checkpoints take, if they are large."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
COPIES = 8
"""Of the trained parameters: weights, two moments and the best weights, in the old checkpoint and the new one."""


@dataclass(frozen=True)
class Prepared(Generic[RecordT]):
    """A training whose conditions were checked."""

    record: RecordT
    base: BaseModel
    schedule: Schedule
    objective: Callable[[Any], Objective]
    """What is learnt, of a model."""
    card: Callable[[RecordT, TrainingResult], str]
    """Writes the model card."""
    out: Path
    merges: bool
    """Whether the adapter is also merged into the base's weights, in `out/merged`."""
    checkpoint_s: float
    choose: Choice | None = None
    patience: int = PATIENCE
    """Which weights are kept, and when a training stops early; see `Training`."""
    has_ended: bool = False
    """Whether the folder holds the result already."""
    begin: Callable[[], None] = lambda: None
    """Removes the model that this training replaces; called when what is to be tuned is loaded."""

    @property
    def settings(self) -> TrainingSettings:
        return self.record.settings

    def ready(self, used: Iterable[Record], *, resume: bool, overwrite: bool) -> Prepared[RecordT]:
        """Makes the folder ready, and says whether the training has ended. Raises RequestError."""
        check_apart(self.out, self.base.folder, "the model to tune")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        check_room(
            self.out if self.out.is_dir() else self.out.parent,
            self._needed_bytes(),
            "a training, with its checkpoints,",
        )
        rows = list(used)
        found = prepare_folder(self.out, self.record, rows, resume=resume, overwrite=overwrite)
        if found.replaces:
            return replace(self, begin=lambda: begin_training(self.out, self.record, rows))
        return replace(self, has_ended=found.has_ended)

    def _needed_bytes(self) -> int:
        base_bytes = self.base.sizes.all * BYTES.get(self.base.dtype, 4)
        if self.settings.full:
            return COPIES * 4 * self.base.sizes.all + base_bytes
        num = num_lora_parameters(self.base, self.settings.rank)
        return (COPIES + 1) * 4 * num + base_bytes * self.merges

    async def run(self, progress: RunProgress) -> RecordT:
        """Trains, and writes the model and its card. If cancelled, it saves a checkpoint first, after the current step.

        Raises RequestError if the loss diverges.
        """
        base, settings, record = self.base, self.settings, self.record
        if not self.has_ended:
            training = self._training(progress)
            await self._learn(training, progress)
            training.take_best()
            progress.status("writing the model")
            save_weights(training.model, base.folder, self.out, base.dtype if settings.full else None)
            result = TrainingResult(steps=training.step, best=training.best, seconds=training.seconds, log=training.log)
            folder = RunDir(self.out)
            folder.write_text(CARD, self.card(record, result))
            folder.write(TRAINING, record.model_copy(update={"result": result}))
            remove_checkpoint(self.out / CHECKPOINT)
        ended = read_record(self.out, type(record))
        if self.merges and not settings.full:
            progress.status("merging the adapter into the base model")
            merge(self.out, ended, base.folder)
        return ended

    def _training(self, progress: RunProgress) -> Training:
        import torch

        settings = self.settings
        use_threads(settings.threads)
        torch.manual_seed(settings.seed)
        progress.status(f"loading {self.base.name}")
        model = self.base.load(settings.base_dtype, settings.device)
        if not settings.full:
            model = with_adapter(model, settings.rank, settings.alpha)
        training = Training(
            model, self.objective(model), self.schedule, settings.micro_batch, self.choose, self.patience
        )
        self.begin()
        if training.restore(self.out / CHECKPOINT):
            progress.status(f"going on after step {training.step:,}")
        return training

    async def _learn(self, training: Training, progress: RunProgress) -> None:
        progress.expect(self.schedule.num_steps - training.step)
        saved, saving_s = time.monotonic(), 0.0
        folder = self.out / CHECKPOINT
        try:
            if self.schedule.looks_first and not training.log:
                progress.status(_shown(training.look(), self.schedule.num_steps))
            while not training.is_finished:
                seen = training.learn()
                progress.step()
                if seen is not None:
                    progress.status(_shown(seen, self.schedule.num_steps))
                if time.monotonic() - saved >= max(self.checkpoint_s, saving_s / MAX_CHECKPOINT_SHARE):
                    start = time.monotonic()
                    training.save(folder)
                    saved = time.monotonic()
                    saving_s = saved - start
                await asyncio.sleep(0)  # where Ctrl-C takes effect
        except asyncio.CancelledError:
            training.save(folder)
            raise


def base_record(base: BaseModel) -> BaseRecord:
    """The model to tune, as its record names it."""
    return BaseRecord(name=base.name, folder=str(base.folder), digest=base.digest, dtype=base.dtype)


def versions() -> dict[str, str]:
    """Of the libraries that compute."""
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft")}


def schedule_of(settings: SftSettings, num_rows: int) -> Schedule:
    """The steps of a training that learns from this many rows."""
    return Schedule(num_rows, settings.rate, settings.epochs, settings.batch, settings.seed)


def _shown(row: LogRow, num_steps: int) -> str:
    text = f"step {row.step:,} of {num_steps:,}, epoch {row.epoch:.1f}: loss {row.loss:.3f}"
    text += "".join(f", {name.replace('_', ' ')} {value:.3f}" for name, value in row.figures.items())
    if row.held_out_loss is None:
        return text
    return f"{text}, held out {row.held_out_loss:.3f}, agreement {row.held_out_agreement:.3f}"
