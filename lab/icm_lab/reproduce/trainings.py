"""Trainings on one model, by the trainer's own jobs: one at a time, on one thread, each in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from icm_annealer.console.output import silent
from icm_annealer.console.progress import RunProgress
from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.runs.atomic_write import make_folder
from icm_annealer.runs.lock import hold, release
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem
from icm_annealer.search.driver import drive
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.device import use_threads
from icm_trainer.relabel.search import SURE, Labelled, Relabelling, relabel
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.relabel.tuned_passes import TunedPasses
from icm_trainer.rl.head_to_head import HeadToHead, Side, head_to_head
from icm_trainer.rl.job import RlJob
from icm_trainer.rl.prompts import PromptForm, PromptSet
from icm_trainer.rl.record import RlRecord, read_used_prompts
from icm_trainer.rl.settings import RlSettings
from icm_trainer.rm.job import RmJob
from icm_trainer.rm.objective import agreements
from icm_trainer.rm.pairing import PairOptions
from icm_trainer.rm.pairs import Pair, PairSet
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.sft.classifier import TunedClassifier
from icm_trainer.sft.job import SftJob
from icm_trainer.sft.labelled import LabelledExample, LabelSet, Origin
from icm_trainer.sft.prepared import Prepared
from icm_trainer.sft.record import TRAINING, RecordT, read_record
from icm_trainer.sft.settings import SftSettings

ORIGIN = Origin(kind="file", text="labels of a trial")
THREADS = 1
"""One for every model: the last digits of weights depend on their number, and the laboratory's are tiny."""
TOKENS = 1
"""Of a response: the laboratory's claims end in one word, which is one token."""
SAMPLES = 8
"""Responses of each policy to a prompt."""
START_RATE, START_EPOCHS = 3e-4, 8.0
"""Of the policies' start, which learns to write claims at all."""


class Rounds(NamedTuple):
    """Labels by rounds in which each half of the examples is labelled by a model tuned on the other."""

    judged: list[Ints]
    """Those that each round learnt from, the start first."""
    result: Ints

    def after(self, num: int) -> Ints:
        """The labels behind `num` rounds; the result if there were no more."""
        return self.judged[num] if num < len(self.judged) else self.result


class _Job(Protocol[RecordT]):
    @property
    def out(self) -> Path: ...

    def prepare(self) -> Prepared[RecordT]: ...


@contextlib.contextmanager
def place_for_trainings(folder: Path) -> Iterator[Path]:
    """An empty folder for trainings, removed at the end of the context. What a killed process left in it is removed
    first. Raises RequestError if another process uses it."""
    make_folder(folder)
    hold(folder)
    try:
        for left_over in folder.iterdir():
            if left_over.is_dir():
                shutil.rmtree(left_over, ignore_errors=True)
        yield folder
    finally:
        release(folder)
        shutil.rmtree(folder, ignore_errors=True)


class Trainings:
    """On the model of this name, below `folder`. What was made of the same is not made again."""

    def __init__(self, model: str, folder: Path, cache: Path):
        self._model, self._folder, self._cache = model, folder, cache
        self._lock = asyncio.Lock()  # torch has one random generator, and trainings draw from it
        self._rounds: dict[Path, Rounds] = {}

    @cached_property
    def base(self) -> BaseModel:
        """The model. Raises RequestError."""
        return BaseModel.find(self._model, self._cache, _silent)

    def to_dict(self) -> dict[str, Any]:
        """What every training is made of, besides its data and its seed."""
        own = [THREADS, TOKENS, SAMPLES, START_RATE, START_EPOCHS]
        rl = RlSettings.of("cpu", self.base, tokens=TOKENS, threads=THREADS)
        relabelling = RelabelSettings(sft=self._sft(0))
        return {"base": self.base.digest, "own": own, "rl": rl.model_dump(), "relabel": relabelling.model_dump()}

    async def classifier(self, labels: LabelSet, seed: int) -> TunedClassifier:
        """A classifier of these labels, by the settings that `icm train sft` has for a CPU."""
        async with self._lock:
            out = await self._done(SftJob(labels, self.base, self._sft(seed), self._place("sft", labels.digest, seed)))
            return TunedClassifier.load(out, self._cache)

    async def reward(self, form: Task, better: str, pairs: Sequence[Pair], seed: int) -> Path:
        """The folder of a reward model of these pairs, by the settings of `icm train rm`."""
        given = PairSet(form, better, pairs, ORIGIN, len(pairs), "no label is good")
        async with self._lock:
            out = self._place("rm", given.digest, seed)
            return await self._done(RmJob(given, self.base, self._sft(seed), out, PairOptions()))

    def ranked(self, reward: Path, pairs: Sequence[Pair]) -> tuple[float, int]:
        """How many of the pairs the reward model in `reward` ranks rightly, a tie being half a one, of how many."""
        model = RewardModel.load(reward, self._cache)
        chosen, rejected = (model.rewards([getattr(pair, side) for pair in pairs]) for side in ("chosen", "rejected"))
        return float(agreements(chosen - rejected).sum()), len(pairs)

    async def policy(self, reward: Path, form: Task, examples: Sequence[Example], seed: int) -> Path:
        """The folder of a policy by the reward model in `reward`, by the settings of `icm train rl`. Its prompts are
        those of the examples, and its start has learnt what their claims look like, without labels."""
        prompts = PromptForm(form)
        texts = list(dict.fromkeys(prompts.prompt(example.fields) for example in examples))
        async with self._lock:
            start = BaseModel.find(str(await self._start(prompts, examples, seed)), self._cache, _silent)
            settings = RlSettings.of("cpu", start, tokens=TOKENS, threads=THREADS, seed=seed)
            asked = PromptSet(prompts, texts, "of the examples")
            out = self._place("rl", reward.name, seed)
            return await self._done(RlJob(reward, asked, start, settings, out, self._cache))

    async def wins(self, policy: Path, other: Path | None, judge: Path, seed: int) -> tuple[float, int]:
        """The judge's wins of a policy over another, or over its start: how many, a tie being half a win, of how
        many."""
        async with self._lock:
            found = await asyncio.to_thread(self._compared, policy, other, judge, seed)
        num = found.num_prompts * found.samples
        return found.win_rate.value * num, num

    async def relabelled(
        self, task: Task, examples: Sequence[Example], problem: Problem, labels: Ints, seed: int
    ) -> Rounds:
        """The rounds of `icm train relabel`, by its settings, from these labels. `problem` holds the rules."""
        content = json.dumps([task.name, labels.tolist(), [example.id for example in examples]])
        place = self._place("relabel", hashlib.sha256(content.encode()).hexdigest()[:16], seed)
        async with self._lock:
            if place not in self._rounds:
                settings = RelabelSettings(sft=self._sft(seed))
                halves = replace(problem, plan=PlanKind("folds", settings.folds), units=problem.consistency.groups)
                passes = TunedPasses(task, examples, halves.units, self.base, settings, place, self._cache, _unseen)
                start = Labelled(labels, np.full(len(labels), SURE), None)
                found = (await drive(relabel(halves, start, settings, seed), halves, passes)).result
                assert isinstance(found, Relabelling)
                self._rounds[place] = Rounds([one.labels for one in found.rounds], found.winner.labels)
            return self._rounds[place]

    async def _start(self, form: PromptForm, examples: Sequence[Example], seed: int) -> Path:
        """A model that writes claims: all its weights are tuned to continue each example's prompt as the example does.
        Labels take no part."""
        prompts = [form.prompt(example.fields) for example in examples]
        rest = [example.text[len(prompt) :] for prompt, example in zip(prompts, examples, strict=True)]
        task = Task(
            name=f"{form.task.name}-claims",
            template="{prompt}",
            labels={text.strip(): text for text in dict.fromkeys(rest)},
        )
        rows = [
            LabelledExample(Example(str(number), prompt, None, {}), text.strip())
            for number, (prompt, text) in enumerate(zip(prompts, rest, strict=True))
        ]
        settings = SftSettings.of("cpu", full=True, rate=START_RATE, epochs=START_EPOCHS, threads=THREADS, seed=seed)
        labels = LabelSet(task, rows, ORIGIN)
        return await self._done(SftJob(labels, self.base, settings, self._place("start", labels.digest, seed)))

    def _compared(self, policy: Path, other: Path | None, judge: Path, seed: int) -> HeadToHead:
        use_threads(THREADS)
        record = read_record(policy, RlRecord)
        own = Side.load(policy, self._cache, _silent, "cpu")
        against = Side.start_of(own) if other is None else Side.load(other, self._cache, _silent, "cpu")
        prompts = [one.prompt for one in read_used_prompts(policy)]
        model = RewardModel.load(judge, self._cache)
        return head_to_head(record, prompts, (own, against), model, judge, samples=SAMPLES, seed=seed)

    async def _done(self, job: _Job[RecordT]) -> Path:
        """The folder of a job, which is done if it was not before."""
        if not (job.out / TRAINING).is_file():
            with _unseen(job.out.name) as progress:
                await job.prepare().run(progress)
            release(job.out)
        return job.out

    def _place(self, kind: str, digest: str, seed: int) -> Path:
        return self._folder / f"{kind}-{digest}-{seed}"

    @staticmethod
    def _sft(seed: int) -> SftSettings:
        return SftSettings.of("cpu", threads=THREADS, seed=seed)


def _silent(text: str) -> None:
    """Says nothing."""


def _unseen(title: str) -> RunProgress:
    return RunProgress(silent(), title, [])
