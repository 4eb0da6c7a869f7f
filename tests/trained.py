"""Trainings on planted labels, also as a program that is killed in the middle:

python -m tests.trained MODEL OUT STEP [sft|full|rm|rl REWARD]
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.labelled import planted_labels

from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_trainer.models.base_model import BaseModel
from icm_trainer.rl.job import RlJob
from icm_trainer.rl.prompts import PromptForm, PromptSet
from icm_trainer.rl.record import RlRecord
from icm_trainer.rl.settings import RlSettings
from icm_trainer.rm.job import RmJob
from icm_trainer.rm.pairing import AnyExamples, PairOptions
from icm_trainer.rm.pairs import PairSet
from icm_trainer.rm.sources import Labels
from icm_trainer.rm.two_stages import Stages, TwoStages
from icm_trainer.sft.job import SftJob
from icm_trainer.sft.record import SftRecord
from icm_trainer.sft.settings import SftSettings


class Killing(RunProgress):
    """Kills its process when this many steps are done, as nothing can catch."""

    def __init__(self, after: int | None):
        super().__init__(Terminal(quiet=True), "training", [])
        self._until_killed = after

    def step(self, steps: float = 1.0) -> None:
        if self._until_killed is not None:
            self._until_killed -= 1
            if not self._until_killed:
                os.kill(os.getpid(), signal.SIGKILL)


def job(base: BaseModel, out: Path, *, full: bool = False) -> SftJob:
    """Some dozen steps on uneven labels, with everything that a checkpoint has to hold."""
    settings = SftSettings.of(
        "cpu", full=full, rank=4, rate=3e-3, epochs=4, batch=8, held_out=0.25, class_weights=True, threads=1
    ).model_copy(update={"micro_batch": 3})
    return SftJob(planted_labels(56, wrong=0.2), base, settings, out, checkpoint_s=0.0)


def stages(base: BaseModel, out: Path) -> TwoStages:
    """A reward model of two stages, of pairs across examples; some dozen steps each."""
    labels = planted_labels(32, wrong=0.2)
    pairing = AnyExamples(labels.task, "hot")
    pairs = pairing.by_labels(labels.rows)
    settings = SftSettings.of("cpu", rank=4, rate=3e-3, epochs=2, batch=8, held_out=0.25, threads=1)
    given = PairSet(labels.task, "hot", pairs, labels.origin, len(pairs))
    made = RmJob(given, base, settings, out, PairOptions(), labels.task, checkpoint_s=0.0)
    rest = [row.example for row in planted_labels(16, seed=1).rows]
    return TwoStages(made, Labels(labels, pairing), rest)


def run_stages(made: TwoStages, *, resume: bool = False, kill_after: int | None = None) -> Stages:
    progress = Killing(kill_after)
    return asyncio.run(made.run(lambda stage: progress, resume=resume))


def run(made: SftJob, *, resume: bool = False, kill_after: int | None = None) -> SftRecord:
    return asyncio.run(made.prepare(resume=resume).run(Killing(kill_after)))


def reward_model(base: BaseModel, out: Path) -> Path:
    """A reward model of planted words, made in a few steps; returns its folder."""
    made = stages(base, out).job
    asyncio.run(made.prepare().run(Killing(None)))
    return out


def policy(base: BaseModel, reward: Path, out: Path) -> RlJob:
    """Some steps on prompts of one and two words, two of three prompts at a time."""
    form = PromptForm(planted_labels(2).task)
    prompts = PromptSet(form, ["Words:", "Words: sun", "Words: ice fire"], "planted")
    settings = RlSettings.of("cpu", base, steps=6, batch=3, group=4, tokens=4, stop=" fire", looks=3, rank=4, threads=1)
    settings = settings.model_copy(update={"micro_batch": 2})
    return RlJob(reward, prompts, base, settings, out, base.folder, checkpoint_s=0.0)


def run_policy(made: RlJob, *, resume: bool = False, kill_after: int | None = None) -> RlRecord:
    return asyncio.run(made.prepare(resume=resume).run(Killing(kill_after)))


if __name__ == "__main__":
    model, folder, step, *others = sys.argv[1:]
    base, out, last = BaseModel.find(model, Path(model), print), Path(folder), int(step)
    if others == ["rm"]:
        run_stages(stages(base, out), kill_after=last)
    elif others[:1] == ["rl"]:
        run_policy(policy(base, Path(others[1]), out), kill_after=last)
    else:
        run(job(base, out, full=others == ["full"]), kill_after=last)
