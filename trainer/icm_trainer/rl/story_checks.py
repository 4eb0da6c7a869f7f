"""What the stages of `icm assistant` would refuse, hours later: asked before the first of them, and before the first
training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from icm_annealer.data.rows import REMOTE
from icm_annealer.sources.byte_source import STANDARD_INPUT
from icm_client.contract.errors import RequestError
from icm_server.engines.model_store import Progress
from icm_trainer.models.base_model import BaseModel
from icm_trainer.rl.head_to_head import check_reads
from icm_trainer.rl.job import check_reward_window
from icm_trainer.rl.policy import prompt_tokens
from icm_trainer.rl.prompts import PromptForm, find_prompts
from icm_trainer.rm.pairing import PairOptions
from icm_trainer.rm.record import RmRecord
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.rm.rows import pair_rows
from icm_trainer.rm.sources import read_given
from icm_trainer.sft.record import read_record
from icm_trainer.sft.settings import SftSettings
from icm_trainer.sft.sources import LabelOptions


@dataclass(frozen=True)
class StoryChecks:
    """Of the options that a user gave."""

    judge: Path | None
    base: str | None
    """The start of the policies."""
    prompts: str | None
    task: str | None
    """The task file; None for a built-in task."""
    tokens: int
    cache: Path
    say: Progress

    def before_labels(self) -> None:
        """Raises RequestError if the judge or the start of the policies is none, or if there is no file of prompts."""
        if self.judge is not None:
            RewardModel.check(self.judge, self.cache, self.say)
        if self.base is not None:
            BaseModel.find(self.base, self.cache, self.say)
        is_file = self.prompts is not None and not self.prompts.startswith((*REMOTE, STANDARD_INPUT))
        if is_file and not Path(str(self.prompts)).exists():
            raise RequestError(f"{self.prompts}: there is no such file of prompts", code="no_prompts")

    def before_trainings(
        self, labels: Mapping[str, LabelOptions], how: PairOptions, base: BaseModel, settings: SftSettings
    ) -> None:
        """`labels` are those of each reward model, by what they are; all are made of `base`. Raises RequestError if one
        of them cannot learn, if a text or a prompt is too long, or if the judge reads other texts."""
        every = []
        for what, options in labels.items():
            try:
                given = read_given(options, how, lambda found: found)
                given.pairs.check()
                pair_rows(given.pairs, base, settings)
            except RequestError as error:
                raise RequestError(f"{what}: {error.message}", code=error.code) from None
            every.append(given)
        form, first = PromptForm(every[0].pairs.form), next(iter(labels.values()))
        if self.judge is not None:
            check_reads(self.judge, read_record(self.judge, RmRecord), form.task.template, "a policy by these labels")
        of_task, source = every[0].of_task, str(first.source)
        asked = find_prompts(form, of_task, source, self.prompts, self.task, allow_code=first.allow_code)
        start = base if self.base is None else BaseModel.find(self.base, self.cache, self.say)
        prompt_tokens(asked.texts, form.task, start, self.tokens)
        check_reward_window(asked, self.tokens, base, settings)
