"""The settings of a reinforcement learning, and its schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from icm_trainer.learning.schedule import Schedule
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.device import DeviceName, available_threads
from icm_trainer.sft.settings import TrainingSettings

RATES: dict[DeviceName, float] = {"cpu": 1e-3, "cuda": 2e-5}
"""Learning rates by device: the first was measured on small models, the second is usual for large ones."""
MOST_LOGITS = 2**26
"""Computed at a time: 256 MB in float32, of which a step holds a few."""


class RlSettings(TrainingSettings):
    """Everything that determines a policy, besides its start, the reward model and the prompts."""

    steps: int = Field(ge=1)
    group: int = Field(ge=2)
    """Responses to each prompt of a step, which are compared with each other."""
    tokens: int = Field(ge=1)
    """The most tokens of a response."""
    stop: str = ""
    """A response ends in front of this text; "" for the end of text alone."""
    beta: float = Field(ge=0)
    """The price of a nat of KL per token, in standard deviations of the rewards of a prompt's responses."""
    kl_ceiling: float = Field(gt=0)
    """Nats per response. The weights kept are below it."""
    length_penalty: float = 0.0
    """Taken off the reward for every token."""
    looks: int = Field(ge=1)
    """How often the policy is looked at on the prompts that are shown, besides the start."""
    held_out: float = Field(ge=0, le=0.5)
    """The share of the prompts that are not learnt from."""
    writer: Literal["transformers", "vllm"] = "transformers"
    """What writes the responses."""

    @classmethod
    def of(
        cls,
        device: DeviceName,
        base: BaseModel,
        *,
        steps: int = 40,
        batch: int = 8,
        group: int = 8,
        tokens: int = 32,
        stop: str = "",
        beta: float = 0.04,
        kl_ceiling: float = 20.0,
        length_penalty: float = 0.0,
        looks: int = 8,
        held_out: float = 0.1,
        writer: Literal["transformers", "vllm"] = "transformers",
        rank: int = 16,
        rate: float | None = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> RlSettings:
        """With the rate of the device, all threads, and as many prompts at a time as memory should allow."""
        vocabulary = int(base.config.get_text_config().vocab_size)
        at_a_time = max(1, MOST_LOGITS // (vocabulary * tokens * group))
        return cls(
            preset="rl",
            device=device,
            rank=rank,
            alpha=2 * rank,
            rate=RATES[device] if rate is None else rate,
            batch=batch,
            micro_batch=min(batch, at_a_time),
            threads=threads or available_threads(),
            seed=seed,
            steps=steps,
            group=group,
            tokens=tokens,
            stop=stop,
            beta=beta,
            kl_ceiling=kl_ceiling,
            length_penalty=length_penalty,
            looks=looks,
            held_out=held_out,
            writer=writer,
        )

    def schedule(self, num_prompts: int) -> RlSchedule:
        """The steps of a training on this many prompts."""
        batch = min(self.batch, num_prompts)
        epochs = self.steps / math.ceil(num_prompts / batch)
        return RlSchedule(num_prompts, self.rate, epochs, batch, self.seed, self.steps, self.looks)


@dataclass(frozen=True)
class RlSchedule(Schedule):
    """Counted in steps, not in epochs, and with looks at equal distances."""

    steps: int
    looks: int

    @property
    def num_steps(self) -> int:
        return self.steps

    @property
    def looks_first(self) -> bool:
        return True

    def looks_after(self, step: int) -> bool:
        return step == self.steps or any(step == self.steps * number // self.looks for number in range(self.looks))
