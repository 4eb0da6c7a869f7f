"""Pretraining: stages of ever more even mixes and ever longer documents. It goes on where it was stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icm_lab.corpus import Mix, draw_batch
from icm_lab.examine import examine
from icm_lab.family import Size
from icm_lab.model import label_logits, new_model
from icm_lab.vocabulary import FALSE, TRUE, token_ids

CHECKPOINT_S, REPORT_STEPS = 20.0, 100


@dataclass(frozen=True)
class Stage:
    """`steps` batches of `documents`, each of `num_shots`; the mix becomes as even as `evenness` in their course."""

    steps: int
    documents: int
    num_shots: int
    evenness: float
    noisy: bool


@dataclass(frozen=True)
class Course:
    """A whole training."""

    stages: Sequence[Stage]
    seed: int = 0
    rate: float = 3e-3
    warm_up: int = 100
    cool_down: float = 0.3
    """The last share of all steps, in which the rate falls to a thirtieth."""

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def at(self, step: int) -> tuple[Stage, float]:
        """The stage of a step, and the evenness of its mix."""
        before = 0.0
        for stage in self.stages:
            if step < stage.steps:
                return stage, before + (stage.evenness - before) * min(1.0, 2 * step / stage.steps)
            step, before = step - stage.steps, stage.evenness
        raise IndexError(step)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        left = (self.steps - step) / (self.cool_down * self.steps)
        return self.rate * min(1.0, (step + 1) / self.warm_up) * max(1 / 30, min(1.0, left))


STAGES = (
    Stage(300, 64, 16, 0.0, noisy=False),
    Stage(700, 64, 16, 1.0, noisy=False),
    Stage(400, 32, 64, 1.0, noisy=True),
    Stage(200, 16, 128, 1.0, noisy=True),
)
COURSES = {"small": Course(STAGES), "medium": Course(STAGES), "large": Course(STAGES, rate=2e-3)}
"""How the shipped models were trained, by size."""


def train(size: Size, course: Course, folder: Path, *, log: Any = print) -> Any:
    """The trained model. `folder` keeps a checkpoint and training.jsonl; a training that was killed goes on there."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(course.seed)
    model = new_model(size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=course.rate, betas=(0.9, 0.98), weight_decay=0.01)
    rng = np.random.default_rng(course.seed)
    step, spent, losses = 0, 0.0, 0.0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        rng.bit_generator.state = kept["rng"]
        step, spent = kept["step"], kept["spent"]
        log(f"going on at step {step}")
    ids = token_ids()
    saved, began = time.monotonic(), time.process_time()
    while step < course.steps:
        stage, evenness = course.at(step)
        documents = draw_batch(stage.documents, Mix(evenness, stage.num_shots, stage.noisy), rng)
        wanted = torch.from_numpy(np.where(documents.labels, ids[TRUE], ids[FALSE]))
        loss = torch.nn.functional.cross_entropy(label_logits(model, documents).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = course.rate_at(step)
        optimizer.step()
        step += 1
        losses += loss.item()
        if step % REPORT_STEPS == 0 or step == course.steps:
            row = {
                "step": step,
                "cpu_s": round(spent + time.process_time() - began, 1),
                "loss": round(losses / REPORT_STEPS, 4),
                "evenness": round(evenness, 3),
                **examine(model, stage.num_shots),
            }
            losses = 0.0
            with (folder / "training.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            log(json.dumps(row))
        if time.monotonic() - saved > CHECKPOINT_S or step == course.steps:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "rng": rng.bit_generator.state,
                "step": step,
                "spent": spent + time.process_time() - began,
                "course": asdict(course),
            }
            torch.save(state, folder / "checkpoint.tmp")
            os.replace(folder / "checkpoint.tmp", checkpoint)
            saved = time.monotonic()
    return model
