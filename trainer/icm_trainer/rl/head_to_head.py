"""Two policies on the same prompts, judged by a reward model that took no part in their training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.metrics import Resamples
from icm_annealer.runs.schema.base import Record, Versioned, read_file
from icm_client.contract.errors import RequestError
from icm_server.engines.model_store import Progress
from icm_trainer.models.base_model import BaseModel, load_model
from icm_trainer.models.lora import with_saved_adapter
from icm_trainer.rl.job import reward_record, weights_digest
from icm_trainer.rl.policy import Policy, prompt_tokens
from icm_trainer.rl.prompts import PromptForm
from icm_trainer.rl.record import RlRecord
from icm_trainer.rm.objective import agreements
from icm_trainer.rm.record import RmRecord, read_used_pairs
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.sft.classifier import base_of
from icm_trainer.sft.record import PAIRS_USED, TRAINING, TrainingRecord, read_record, read_training

EVALUATION = "rl-eval.json"
GONE = ""
BATCH = 32
"""Responses written at a time."""


class SideFigures(Record):
    """One policy's responses."""

    name: str
    reward: float
    """Mean, by the judge."""
    length: float
    """Mean, in tokens."""


class Opponent(Record):
    """Another model than the policy's start."""

    folder: str
    digest: str
    """Of its weights when it was compared."""


class HeadToHead(Versioned):
    """`rl-eval.json`: the first policy against the second."""

    opponent: Opponent | None
    """None for the policy's own start."""

    judge: str
    judge_digest: str
    shared_pairs: float
    """The share of the judge's pairs that the policy's reward model also learnt from; 0 if that is unknown."""
    num_prompts: int = Field(ge=1)
    samples: int
    """Responses of each policy to each prompt."""
    sides: list[SideFigures]
    win_rate: Estimate
    """The share of pairs of responses to the same prompt in which the judge gives the first policy's the higher reward;
    a tie is half a win."""
    win_rate_longer: Estimate
    """Where the first policy's response is the longer one; NaN where it never is."""
    win_rate_not_longer: Estimate


@dataclass(frozen=True)
class Side:
    """A policy to compare, with how it writes."""

    name: str
    policy: Policy
    base: BaseModel
    opponent: Opponent | None = None
    """None for a policy's own start."""

    @classmethod
    def load(cls, folder: Path, cache: Path, say: Progress, device: str) -> Side:
        """Any model: one of `icm train`, or one of transformers. Raises RequestError."""
        record = read_training(folder) if (folder / TRAINING).is_file() else None
        name, opponent = folder.resolve().name, Opponent(folder=str(folder.resolve()), digest=_digest(folder))
        if record is None or record.settings.full:
            base = BaseModel.find(str(folder), cache, say)
            return cls(name, Policy.of(base.load("float32", device), base), base, opponent)
        base = base_of(folder, record, cache, say)
        model = with_saved_adapter(load_model(base.folder, "float32", device), folder)
        return cls(name, Policy.of(model, base), base, opponent)

    @classmethod
    def start_of(cls, own: Side) -> Side:
        """What a policy was made of."""
        return cls(f"the start ({own.base.name})", own.policy, own.base)

    def write(self, form: PromptForm, prompts: Sequence[str], record: RlRecord, seed: int) -> tuple[list[str], Array]:
        """Responses and their lengths in tokens, one to each of the prompts, which may be equal."""
        import torch

        settings = record.settings
        ids = prompt_tokens(prompts, form.task, self.base, settings.tokens)
        texts, lengths = list[str](), list[float]()
        torch.manual_seed(seed)
        for first in range(0, len(ids), BATCH):
            if self.opponent is None:
                with self.policy.as_start():
                    written = self.policy.write(ids[first : first + BATCH], settings.tokens, settings.stop)
            else:
                written = self.policy.write(ids[first : first + BATCH], settings.tokens, settings.stop)
            texts += [one.text for one in written]
            lengths += [float(len(one.ids)) for one in written]
        return texts, np.array(lengths)


def check_judge(judge: Path, policies: Sequence[Path]) -> RmRecord:
    """The judge's record. Raises RequestError if it is the reward model that one of the policies was trained by, or
    reads other texts."""
    record = read_record(judge, RmRecord)
    digest = reward_record(judge, record).digest
    for folder in policies:
        if not (folder / TRAINING).is_file() or read_training(folder).kind != RlRecord.model_fields["kind"].default:
            continue
        trained = read_record(folder, RlRecord)
        if trained.reward.digest == digest:
            raise RequestError(
                f"{judge} is the reward model that {folder} was trained by: it says how well it was pleased, not how "
                "good the policy is; name a judge that took no part, such as a reward model of gold labels of other "
                "rows (icm train rm --from-gold)",
                code="same_judge",
            )
        check_reads(judge, record, trained.task.template, str(folder))
    return record


def check_reads(judge: Path, record: RmRecord, template: str, policy: str) -> None:
    """Raises RequestError if the judge reads other texts than a policy of this template writes."""
    if template != record.task.template:
        raise RequestError(
            f"{judge} reads {record.task.template!r}, but {policy} writes into {template!r}: the judge cannot read its "
            "responses",
            code="other_form",
        )


def shared_pairs(judge: Path, reward: Path) -> float:
    """The share of the judge's pairs that the reward model also learnt from; 0 if the latter's are gone."""
    if not (reward / PAIRS_USED).is_file():
        return 0.0
    own = {frozenset((pair.chosen, pair.rejected)) for pair in read_used_pairs(judge)}
    theirs = {frozenset((pair.chosen, pair.rejected)) for pair in read_used_pairs(reward)}
    return len(own & theirs) / len(own)


def head_to_head(
    record: RlRecord,
    prompts: Sequence[str],
    sides: tuple[Side, Side],
    judge: RewardModel,
    judge_folder: Path,
    *,
    samples: int,
    seed: int,
    on_side: Callable[[str], None] = lambda name: None,
) -> HeadToHead:
    """The first of the sides against the second, on `samples` responses of each to each prompt. Prompts are resampled
    for the intervals, or responses if there is one prompt."""
    form = PromptForm(record.task)
    asked = [prompt for prompt in prompts for _ in range(samples)]
    rewards, lengths = list[Array](), list[Array]()
    for number, side in enumerate(sides):
        on_side(side.name)
        texts, length = side.write(form, asked, record, seed + number)
        each, places = np.unique([form.text(*both) for both in zip(asked, texts, strict=True)], return_inverse=True)
        rewards.append(judge.rewards([str(text) for text in each])[places])
        lengths.append(length)
    wins = agreements(rewards[0] - rewards[1])
    units = np.arange(len(asked)) if len(prompts) == 1 else np.repeat(np.arange(len(prompts)), samples)
    resamples, is_longer = Resamples(units), lengths[0] > lengths[1]

    return HeadToHead(
        opponent=sides[1].opponent,
        judge=str(judge_folder),
        judge_digest=reward_record(judge_folder, judge.record).digest,
        shared_pairs=shared_pairs(judge_folder, Path(record.reward.folder)),
        num_prompts=len(prompts),
        samples=samples,
        sides=[
            SideFigures(name=side.name, reward=float(reward.mean()), length=float(length.mean()))
            for side, reward, length in zip(sides, rewards, lengths, strict=True)
        ],
        win_rate=resamples.share(wins, np.ones(len(asked))),
        win_rate_longer=resamples.share(wins, is_longer.astype(float)),
        win_rate_not_longer=resamples.share(wins, (~is_longer).astype(float)),
    )


def evaluation_file(policy: Path, other: Path | None) -> Path:
    """The file for a policy against its start (None) or against the model in `other`: the one that holds these figures
    already, or else a new one by the model's name, numbered where another model of this name has the first. Raises
    RequestError for a damaged one."""
    if other is None:
        return policy / EVALUATION
    name = other.resolve().name
    paths = (policy / f"rl-eval-{name}{f'-{number}' if number > 1 else ''}.json" for number in itertools.count(1))
    return next(path for path in paths if _is_about(read_file(path, HeadToHead), other))


def _is_about(held: HeadToHead | None, other: Path) -> bool:
    """Whether a file with these figures, or none, is for the model in `other`, which may have been moved."""
    if held is None:
        return True
    if held.opponent is None:
        return False
    was = Path(held.opponent.folder)
    return was == other.resolve() or (not was.is_dir() and held.opponent.digest == _digest(other))


def read_evaluation(path: Path) -> HeadToHead | None:
    """The evaluation in a file; None if there is none, or if the other model was replaced since."""
    found = read_file(path, HeadToHead)
    if found is None or found.opponent is None:
        return found
    return found if _digest(Path(found.opponent.folder)) in (found.opponent.digest, GONE) else None


def read_evaluations(folder: Path) -> list[HeadToHead]:
    """All evaluations of the policy in `folder` that still hold, by the names of their files."""
    found = (read_evaluation(path) for path in sorted(folder.glob("rl-eval*.json")))
    return [one for one in found if one is not None]


def _digest(folder: Path) -> str:
    """Of the weights of any model; GONE if the folder is."""
    if not folder.is_dir():
        return GONE
    record = read_file(folder / TRAINING, TrainingRecord)
    return weights_digest(folder, record.base.digest if record else "")
