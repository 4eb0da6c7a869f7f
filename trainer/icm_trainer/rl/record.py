"""`training.json` and `prompts.jsonl` in a policy's folder: how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from icm_annealer.runs.schema.base import Record
from icm_annealer.runs.schema.metrics import AlarmRecord
from icm_trainer.learning.checkpoint import LogRow
from icm_trainer.rl.settings import RlSettings
from icm_trainer.sft.labelled import Origin
from icm_trainer.sft.record import PROMPTS_USED, TrainingRecord, used_lines

PAGE = "rl.html"


class RewardRecord(Record):
    """The reward model."""

    folder: str
    digest: str
    """Of its files."""
    base: str
    better: str
    """The label whose log-odds are the reward."""
    pairs: str
    """The digest of the pairs that it learnt from."""
    origin: Origin
    """Where their labels come from."""


class RlRecord(TrainingRecord):
    """How a policy was made. `task` is the reward model's: its last field is the response."""

    what: ClassVar[str] = "policy"
    given: ClassVar[str] = "prompts, or another reward model"
    used_file: ClassVar[str] = PROMPTS_USED

    kind: Literal["rl"] = "rl"
    settings: RlSettings
    reward: RewardRecord
    prompts: str
    """A digest."""
    prompts_origin: str
    num_prompts: int
    num_held_out: int
    """How many of them were not learnt from."""
    num_shown: int
    """How many of them are answered at every look: held-out ones, if there are any."""

    @property
    def digest(self) -> str:
        return f"{self.prompts}-{self.reward.digest}"

    @property
    def log(self) -> list[LogRow]:
        """The looks, the start first. The training must have ended."""
        assert self.result is not None
        return self.result.log

    @property
    def kept(self) -> LogRow:
        """The look at the weights that were kept."""
        assert self.result is not None
        return next(row for row in self.log if row.step == self.result.best)

    @property
    def alarms(self) -> list[AlarmRecord]:
        """Of a training that has ended."""
        return alarms_of(self)


class UsedPrompt(Record):
    """A line of `prompts.jsonl`."""

    prompt: str
    held_out: bool
    shown: bool


def read_used_prompts(folder: Path) -> list[UsedPrompt]:
    """The prompts of the policy in `folder`. Raises RequestError."""
    return used_lines(folder / PROMPTS_USED, UsedPrompt)


LONGER = 1.5
"""Responses that are longer than the start's by this factor raise an alarm."""


def alarms_of(record: RlRecord) -> list[AlarmRecord]:
    """Warnings first."""
    raised, settings = [], record.settings
    start, kept, last = record.log[0].figures, record.kept.figures, record.log[-1]
    if last.step != record.kept.step:
        raised.append(
            AlarmRecord(
                code="kl-ceiling",
                level="warning",
                observation=f"At step {last.step:,} the policy was {last.figures['kl']:.1f} nats per response from its "
                f"start, above the ceiling of {settings.kl_ceiling:g}, and the training was stopped.",
                advice=f"The weights are those of step {record.kept.step:,}. Read the samples; to train again, use "
                "icm train rl with a higher --beta or a lower --rate, or, if they are good, a higher --kl-ceiling.",
            )
        )
    if kept["reward"] <= start["reward"]:
        raised.append(
            AlarmRecord(
                code="no-gain",
                level="warning",
                observation=f"The mean reward did not rise on the prompts shown: {start['reward']:+.2f} at the start, "
                f"{kept['reward']:+.2f} at the end.",
                advice="Look whether responses to one prompt differ; train for more steps, or use icm train rl with a "
                "higher --rate.",
            )
        )
    if kept["length"] > LONGER * start["length"]:
        raised.append(
            AlarmRecord(
                code="length-grows",
                level="note",
                observation=f"Responses grew from {start['length']:.0f} to {kept['length']:.0f} tokens.",
                advice="Compare at equal lengths (icm train eval-rl shows it), or use icm train rl --length-penalty.",
            )
        )
    return raised
