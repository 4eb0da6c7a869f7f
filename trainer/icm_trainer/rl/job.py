"""One training of a policy, from a reward model and prompts to a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icm_client.contract.errors import RequestError
from icm_server.engines.model_store import Progress
from icm_trainer.learning.checkpoint import LogRow
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.label_tokens import prompts_of
from icm_trainer.models.lora import check_rank
from icm_trainer.rl.card import model_card
from icm_trainer.rl.objective import GrpoObjective
from icm_trainer.rl.policy import Policy, prompt_tokens
from icm_trainer.rl.prompts import PromptSet
from icm_trainer.rl.record import RewardRecord, RlRecord, UsedPrompt
from icm_trainer.rl.settings import RlSettings
from icm_trainer.rl.vllm_writer import VllmServer, VllmWriter
from icm_trainer.rm.record import RmRecord
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.sft.prepared import CHECKPOINT_S, Prepared, base_record, versions
from icm_trainer.sft.record import CHECKPOINT, read_record
from icm_trainer.sft.saving import check_apart
from icm_trainer.sft.settings import SftSettings

NUM_SHOWN = 8
"""The most prompts that are answered at every look."""
ADAPTER = "adapter"
"""The policy, for a server that writes its responses; beside the checkpoint, with which it is removed."""


@dataclass(frozen=True)
class RlJob:
    """What learns to please which reward model, and where to."""

    reward: Path
    """The folder of the reward model."""
    prompts: PromptSet
    base: BaseModel
    """The start."""
    settings: RlSettings
    out: Path
    cache: Path
    merges: bool = False
    """Whether the adapter is also merged into the base's weights, in `out/merged`."""
    checkpoint_s: float = CHECKPOINT_S
    server: VllmServer | None = None
    """What writes the responses, in place of transformers."""

    def prepare(
        self, *, resume: bool = False, overwrite: bool = False, say: Progress = lambda text: None
    ) -> Prepared[RlRecord]:
        """Checks everything that can be known before a training, and makes the folder ready. Raises RequestError."""
        check_rank(self.base, self.settings.rank)
        reward = read_record(self.reward, RmRecord)
        judge = RewardModel.check(self.reward, self.cache, say)
        check_apart(self.out, self.reward, "the reward model")
        texts, form, tokens = self.prompts.texts, self.prompts.form, self.settings.tokens
        ids = prompt_tokens(texts, form.task, self.base, tokens)
        check_reward_window(self.prompts, tokens, judge, reward.settings, f"the reward model in {self.reward}")
        versions_used = versions()
        if self.server is not None:
            versions_used["vllm"] = self.server.check(max(map(len, ids)) + tokens)
        is_held_out = self.prompts.held_out(self.settings.held_out, self.settings.seed)
        shown = np.flatnonzero(is_held_out if is_held_out.any() else ~is_held_out)[:NUM_SHOWN]
        learnt = np.flatnonzero(~is_held_out)
        schedule = self.settings.schedule(len(learnt))
        both = list(zip(texts, ids, strict=True))

        def objective(model: Any) -> GrpoObjective:
            loaded = RewardModel.load(self.reward, self.cache, say, self.settings.device)
            policy = Policy.of(model, self.base)
            return GrpoObjective(
                policy,
                policy if self.server is None else VllmWriter(policy, self.server, self.out / CHECKPOINT / ADAPTER),
                form,
                [both[number] for number in learnt],
                [both[number] for number in shown],
                loaded.rewards,
                self.settings,
            )

        prepared = Prepared(
            record=RlRecord(
                base=base_record(self.base),
                task=form.task,
                settings=self.settings,
                reward=reward_record(self.reward, reward),
                prompts=self.prompts.digest,
                prompts_origin=self.prompts.origin,
                num_prompts=len(texts),
                num_held_out=int(is_held_out.sum()),
                num_shown=len(shown),
                versions=versions_used,
                num_steps=schedule.num_steps,
            ),
            base=self.base,
            schedule=schedule,
            objective=objective,
            card=model_card,
            out=self.out,
            merges=self.merges,
            checkpoint_s=self.checkpoint_s,
            choose=self._within_ceiling,
            patience=1,
        )
        used = (
            UsedPrompt(prompt=text, held_out=bool(is_held_out[number]), shown=number in shown)
            for number, text in enumerate(texts)
        )
        return prepared.ready(used, resume=resume, overwrite=overwrite)

    def _within_ceiling(self, log: Sequence[LogRow]) -> LogRow | None:
        """The last look at a policy that is near its start. One that is not ends the training."""
        return next((row for row in reversed(log) if row.figures["kl"] <= self.settings.kl_ceiling), None)


def check_reward_window(
    prompts: PromptSet, tokens: int, judge: BaseModel, settings: SftSettings, what: str = "the reward model"
) -> None:
    """Raises RequestError if `judge`, tuned by these settings, could not read the longest responses, of `tokens`."""
    limit, form = min(settings.max_tokens, judge.window), prompts.form
    read = prompts_of([form.text(text, " x") for text in prompts.texts], form.task, judge.tokenizer)
    most = max(prompt.num_tokens for prompt in read) + tokens
    if most > limit and not settings.cut:
        raise RequestError(
            f"{what} reads up to {limit:,} tokens; a prompt and a response of {tokens:,} (--tokens) may take {most:,}: "
            "lower --tokens, shorten the prompts, or train the reward model with more (icm train rm --text-tokens)",
            code="too_long",
        )


def reward_record(folder: Path, record: RmRecord) -> RewardRecord:
    """The reward model in `folder`, as a policy's record names it."""
    return RewardRecord(
        folder=str(folder.resolve()),
        digest=weights_digest(folder, record.base.digest),
        base=record.base.digest,
        better=record.better,
        pairs=record.pairs.digest,
        origin=record.pairs.origin,
    )


def weights_digest(folder: Path, base: str) -> str:
    """What rewards depend on: the weights in `folder`, and the model they belong to. Files that other commands write
    beside them, such as an evaluation, do not make it another reward model."""
    total = hashlib.sha256(base.encode())
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()
