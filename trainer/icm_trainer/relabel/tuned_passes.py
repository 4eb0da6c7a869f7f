"""Answers passes by tuning: what a search asks behind a context is asked of a model that has learnt from it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from icm_annealer.console.progress import RunProgress
from icm_annealer.core.arrays import Array, Ints
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.lock import release
from icm_annealer.runs.schema.base import Versioned, read_file
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.label_scores import BATCH
from icm_trainer.relabel.search import folds_of
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.sft.classifier import TunedClassifier
from icm_trainer.sft.job import SftJob
from icm_trainer.sft.labelled import LabelledExample, LabelSet, Origin
from icm_trainer.sft.prepared import CHECKPOINT_S
from icm_trainer.sft.record import TRAINING

NewProgress = Callable[[str], RunProgress]
"""A display of one training, from its title."""


class Part(NamedTuple):
    """The numbers of the examples that one model learns from, and of those that it labels."""

    learnt: Ints
    labelled: Ints


class PartScores(Versioned):
    """`part-1.json`: the answers of one tuned model, kept until the whole pass is in the journal."""

    examples: list[int]
    logprobs: list[list[float]] = Field(min_length=1)
    """[example, label], raw."""


@dataclass(frozen=True)
class TunedPasses:
    """`AnswersPasses` by tuned models. All that it has done is in `folder`, so a killed process loses no training."""

    task: Task
    examples: Sequence[Example]
    units: Sequence[Ints]
    base: BaseModel
    settings: RelabelSettings
    folder: Path
    cache: Path
    progress: NewProgress
    checkpoint_s: float = CHECKPOINT_S

    async def score(self, request: PassRequest) -> PassResult:
        """Raises RequestError if a model has labels of one kind only to learn from, or if a loss diverges."""
        place = self.folder / _name(request)
        for other in self.folder.glob("*"):
            if other != place:
                shutil.rmtree(other)
        parts = parts_of(request, self.units)
        found = np.empty((len(self.examples), len(self.task.labels)))
        for number, part in enumerate(parts, 1):
            kept = read_file(place / f"part-{number}.json", PartScores)
            if kept is None:
                title = f"{request.purpose}, model {number} of {len(parts)}"
                logprobs = await self._tuned(request.labels, part, place / f"model-{number}", title)
                kept = PartScores(examples=part.labelled.tolist(), logprobs=logprobs.tolist())
                RunDir(place).write(f"part-{number}.json", kept)
            shutil.rmtree(place / f"model-{number}", ignore_errors=True)
            found[kept.examples] = kept.logprobs
        return PassResult(found[request.queries])

    async def _tuned(self, labels: Ints, part: Part, out: Path, title: str) -> Array:
        """The answers of a new model, which is trained in the folder `out`."""
        names = self.task.label_names
        rows = [LabelledExample(self.examples[number], names[labels[number]]) for number in part.learnt]
        origin = Origin(kind="file", text="labels of a relabelling")
        settings = self.settings.tuning(len(rows))
        job = SftJob(LabelSet(self.task, rows, origin), self.base, settings, out, checkpoint_s=self.checkpoint_s)
        has_begun = (out / TRAINING).is_file()
        prepared = job.prepare(resume=has_begun, overwrite=not has_begun)
        texts = [self.examples[number].text for number in part.labelled]
        with self.progress(title) as progress:
            await prepared.run(progress)
            progress.status(f"labelling {len(texts):,} examples")
            classifier = TunedClassifier.load(out, self.cache, device=settings.device)
            answers = []
            for first in range(0, len(texts), BATCH):
                answers.append(classifier.logprobs(texts[first : first + BATCH]))
                await asyncio.sleep(0)  # where Ctrl-C takes effect
        release(out)
        return np.concatenate(answers)


def parts_of(request: PassRequest, units: Sequence[Ints]) -> list[Part]:
    """The models that answer a pass: one of all labels for examples without a label, else one for each fold of the
    order, which learns from the other folds. Hidden examples are learnt by none."""
    is_learnt = request.labels >= 0
    is_learnt[list(request.hidden)] = False
    if (request.labels[request.queries] < 0).all():
        return [Part(np.flatnonzero(is_learnt), request.queries)]
    parts = []
    for fold in folds_of(units, request.order, request.plan.num_folds or 2):
        outside = is_learnt.copy()
        outside[fold] = False
        parts.append(Part(np.flatnonzero(outside), fold))
    return parts


def _name(request: PassRequest) -> str:
    """A folder's name for a pass: the same for the same request only."""
    asked = [getattr(request, name).tolist() for name in ("labels", "queries", "order")]
    content = json.dumps([*asked, str(request.plan), request.purpose, list(request.hidden)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
