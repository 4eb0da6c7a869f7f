"""The recipe of Wen et al.: labels make a first reward model, this one judges further pairs, and a last one learns from
all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icm_annealer.console.progress import RunProgress
from icm_annealer.core.arrays import Array
from icm_annealer.data.examples import Example
from icm_annealer.runs.lock import hold
from icm_trainer.models.device import use_threads
from icm_trainer.models.label_tokens import prompts_of
from icm_trainer.rm.job import RmJob
from icm_trainer.rm.record import RmRecord
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.rm.sources import Labels
from icm_trainer.sft.record import TRAINING
from icm_trainer.sft.rows import fitted
from icm_trainer.sft.saving import check_free, remove_model


class Stages(NamedTuple):
    """Both models."""

    first: RmRecord
    last: RmRecord


def first_folder(out: Path) -> Path:
    """Where the first model goes, if the last one goes to `out`."""
    return out.with_name(f"{out.name}-first")


@dataclass(frozen=True)
class TwoStages:
    """`job` learns from the labels; the model of this goes to the folder with `-first` behind its name."""

    job: RmJob
    labels: Labels
    rest: Sequence[Example]
    """What the first model judges."""

    @property
    def first_folder(self) -> Path:
        return first_folder(self.job.out)

    async def run(
        self, progress: Callable[[str], RunProgress], *, resume: bool = False, overwrite: bool = False
    ) -> Stages:
        """Trains both. `progress` opens what shows a stage. A stopped one is resumed in the stage where it was. What is
        overwritten is removed when the first training begins. Raises RequestError, for a folder that cannot take the
        last model, and for a text that is too long to be judged, before the first model is trained."""
        if not (resume or overwrite):
            check_free(self.job.out)
        self._check_rest()
        first_job = replace(self.job, out=self.first_folder, merges=False)
        is_begun = resume and (self.first_folder / TRAINING).is_file()
        prepared = first_job.prepare(resume=is_begun, overwrite=overwrite)
        if overwrite and not resume:
            first_begins = prepared.begin
            prepared = replace(prepared, begin=lambda: self._begin(first_begins))
        with progress("first of two") as shown:
            first = await prepared.run(shown)
        with progress("judging pairs") as shown:
            job = await asyncio.to_thread(self._last_job, shown)
        is_begun = resume and (self.job.out / TRAINING).is_file()
        with progress("last of two") as shown:
            return Stages(first, await job.prepare(resume=is_begun, overwrite=overwrite).run(shown))

    def _begin(self, first: Callable[[], None]) -> None:
        """The last model goes, too: a recipe that is stopped later must not continue one of other labels."""
        if (self.job.out / TRAINING).is_file():
            hold(self.job.out)
            remove_model(self.job.out)
        first()

    def _check_rest(self) -> None:
        """Raises RequestError for texts that are too long."""
        texts = self.labels.pairing.texts(self.rest)
        prompts = prompts_of(texts, self.job.pairs.form, self.job.base.tokenizer)
        fitted(prompts, self.job.base, self.job.settings, lambda number: texts[number][:40])

    def _last_job(self, progress: RunProgress) -> RmJob:
        settings = self.job.settings
        use_threads(settings.threads)
        # The base lies in its folder, so nothing is made in a cache.
        model = RewardModel.load(self.first_folder, self.job.base.folder, device=settings.device)

        def rewards(texts: Sequence[str]) -> Array:
            progress.expect(len(texts))
            each, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
            return model.rewards(list(each), progress.step)[places]

        judged = self.labels.pairing.by_rewards(self.rest, rewards, self.labels.share)
        origin = f"{len(judged):,} pairs of {len(self.rest):,} further examples, judged by a reward model of the first"
        return replace(self.job, pairs=self.job.pairs.followed_by(judged, origin))
