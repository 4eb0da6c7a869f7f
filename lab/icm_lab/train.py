"""Pretraining on one core. A killed training can be resumed, and ends with the same weights."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from icm_lab.corpus import draw_batch
from icm_lab.examine import examine
from icm_lab.family import ModelSize
from icm_lab.model import label_logits, new_model
from icm_lab.training_schedule import TrainingSchedule
from icm_lab.vocabulary import FALSE, TRUE, token_ids

CHECKPOINT, LOG = "checkpoint.pt", "training.jsonl"
CHECKPOINT_S = 20.0


class Training:
    """The state of a training: a model, its optimizer, and the position in the schedule."""

    def __init__(self, size: ModelSize, schedule: TrainingSchedule):
        import torch

        torch.set_num_threads(1)  # the order of sums, so the weights, would depend on their number
        torch.manual_seed(schedule.seed)
        self.schedule = schedule
        self.model = new_model(size)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=schedule.rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self._rng = np.random.default_rng(schedule.seed)
        self.step, self._cpu_s, self._losses = 0, 0.0, 0.0
        self.rows: list[dict[str, Any]] = []
        """The log, a row every `report_steps`."""

    def learn(self) -> None:
        """One step. Only labels are learnt from: all else in a document is drawn at random."""
        import torch

        start = time.process_time()
        batch = self.schedule.batch(self.step)
        documents = draw_batch(batch.documents, batch.mix, self._rng)
        ids = token_ids()
        targets = torch.from_numpy(np.where(documents.labels, ids[TRUE], ids[FALSE]))
        loss = torch.nn.functional.cross_entropy(label_logits(self.model, documents).flatten(0, 1), targets.flatten())
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        self._optimizer.step()
        self.step += 1
        self._losses += loss.item()
        self._cpu_s += time.process_time() - start

    def report(self) -> dict[str, Any]:
        """A row of the log: step, CPU seconds so far, mean loss since the last row, accuracies by world and concept."""
        since = self.step - (self.rows[-1]["step"] if self.rows else 0)
        mix = self.schedule.batch(self.step - 1).mix
        row = {
            "step": self.step,
            "cpu_s": round(self._cpu_s, 1),
            "loss": round(self._losses / since, 4),
            "evenness": round(mix.evenness, 3),
            "shots": mix.num_shots,
            **examine(self.model, mix.num_shots),
        }
        self._losses = 0.0
        self.rows.append(row)
        return row

    def save(self, file: Path) -> None:
        """Saves everything needed to resume, atomically in one file."""
        import torch

        state = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "rng": self._rng.bit_generator.state,
            "step": self.step,
            "cpu_s": self._cpu_s,
            "losses": self._losses,
            "rows": self.rows,
        }
        partial = file.with_suffix(".partial")
        try:
            torch.save(state, partial)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)

    def load(self, file: Path) -> None:
        """Restores the state of `save`. A checkpoint can execute code, so load only your own."""
        import torch

        state = torch.load(file, weights_only=False)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._rng.bit_generator.state = state["rng"]
        self.step, self._cpu_s = state["step"], state["cpu_s"]
        self._losses, self.rows = state["losses"], state["rows"]


def train(
    size: ModelSize,
    schedule: TrainingSchedule,
    folder: Path,
    *,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    checkpoint_s: float = CHECKPOINT_S,
) -> Any:
    """Trains and returns the model. `folder` keeps checkpoint.pt and training.jsonl, from which training resumes."""
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(size, schedule)
    if (folder / CHECKPOINT).exists():
        training.load(folder / CHECKPOINT)
    saved = time.monotonic()
    while training.step < schedule.steps:
        training.learn()
        if training.step % schedule.report_steps == 0 or training.step == schedule.steps:
            on_row(training.report())
            lines = "".join(json.dumps(row) + "\n" for row in training.rows)
            (folder / LOG).write_text(lines, encoding="utf-8")
        if time.monotonic() - saved >= checkpoint_s or training.step == schedule.steps:
            training.save(folder / CHECKPOINT)
            saved = time.monotonic()
    return training.model
