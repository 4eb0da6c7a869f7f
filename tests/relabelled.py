"""Relabellings of planted labels, also by processes that are killed one after another:

python -m tests.relabelled MODEL OUT EVENTS EVENTS ...

Each process is killed after so many events (steps and status lines of trainings); the last one comes to the end.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.labelled import planted_labels

from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_trainer.models.base_model import BaseModel
from icm_trainer.relabel.job import RelabelJob
from icm_trainer.relabel.record import RelabelRecord
from icm_trainer.relabel.search import SURE
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.relabel.start import Start
from icm_trainer.sft.labelled import LabelSet
from icm_trainer.sft.settings import SftSettings


class Killed(RunProgress):
    """Kills its process after some events, as nothing can catch."""

    left = 0

    def __init__(self, title: str):
        super().__init__(Terminal(quiet=True), title, [])

    def step(self, steps: float = 1.0) -> None:
        self._count()

    def status(self, text: str) -> None:
        self._count()

    def _count(self) -> None:
        Killed.left -= 1
        if not Killed.left:
            os.kill(os.getpid(), signal.SIGKILL)


def quiet(title: str) -> RunProgress:
    return RunProgress(Terminal(quiet=True), title, [])


def start_of(labels: LabelSet, num_labelled: int) -> Start:
    """The first labels, and the other examples without one."""
    numbers = np.where(np.arange(len(labels.rows)) < num_labelled, labels.labels, -1)
    examples = [row.example for row in labels.rows]
    return Start(labels.task, examples, numbers, np.full(len(numbers), SURE), {}, labels.origin)


def job(base: BaseModel, out: Path, num: int = 48, num_labelled: int = 32) -> RelabelJob:
    """A batch, if not all examples have labels, and two rounds; a fifth of the labels at the start are wrong."""
    sft = SftSettings.of("cpu", full=True, rate=3e-3, epochs=6, batch=8, held_out=0.2, threads=1)
    start = start_of(planted_labels(num, wrong=0.2), num_labelled)
    settings = RelabelSettings(rounds=2, sft=sft)
    return RelabelJob(start, base, settings, out, base.folder, checkpoint_s=0.0)


def run(made: RelabelJob, *, resume: bool = False, progress: Callable[[str], RunProgress] = quiet) -> RelabelRecord:
    made.prepare(resume=resume)
    return asyncio.run(made.run(progress, resume=resume))


if __name__ == "__main__":
    model, folder, *events = sys.argv[1:]
    importlib.import_module("transformers.models.llama.modeling_llama")  # once, and torch with it; it is used by forks
    base = BaseModel.find(model, Path(model), print)
    for number, num in enumerate([*map(int, events), 0]):
        child = os.fork()
        if not child:
            Killed.left = num
            run(job(base, Path(folder)), resume=bool(number), progress=Killed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) == bool(num), status
