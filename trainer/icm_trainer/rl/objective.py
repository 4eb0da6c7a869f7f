"""What a policy learns: group relative policy optimisation (GRPO, Shao et al. 2024), on its own responses.

Every prompt of a step gets a group of responses; a response is as good as its reward is above the group's mean, in the
group's standard deviations. The loss is that of TRL's `dr_grpo`: summed over tokens and divided by the most tokens that
a response may have, so that it does not pay to make bad responses long, as it does where each response is divided by
its own length. Each response is learnt from once, so the ratio to the policy that wrote it is 1, and nothing is
clipped.

The KL to the start is the sum over the whole vocabulary at every position: exact, where the usual estimate from the
token written alone is noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_trainer.learning.training import HeldOutLook
from icm_trainer.rl.policy import Policy, Response
from icm_trainer.rl.prompts import PromptForm
from icm_trainer.rl.settings import RlSettings
from icm_trainer.rm.pairing import Rewards

EPSILON = 1e-4
"""Added to standard deviations, as TRL does: a group of equal rewards teaches nothing."""
LOOK_SEED = 7_919
"""Of the responses at looks, which are drawn with the same numbers every time, so that looks differ by the policy."""
PER_PROMPT = 4
"""Responses to each prompt that is shown."""


class GrpoObjective:
    """`prompts` are the texts and tokens that are learnt from, `shown` those of looks. `rewards` are of texts."""

    def __init__(
        self,
        policy: Policy,
        form: PromptForm,
        prompts: Sequence[tuple[str, tuple[int, ...]]],
        shown: Sequence[tuple[str, tuple[int, ...]]],
        rewards: Rewards,
        settings: RlSettings,
    ):
        self._policy, self._form, self._rewards, self._settings = policy, form, rewards, settings
        self._prompts, self._shown = prompts, shown
        self._figures: list[dict[str, Array]] = []

    @property
    def weights(self) -> Array:
        return np.ones(len(self._prompts))

    def loss(self, rows: Ints) -> Any:
        """The responses are written now, by torch's global generator."""
        import torch

        settings = self._settings
        asked = [self._prompts[row] for row in rows for _ in range(settings.group)]
        responses = self._policy.write([ids for _, ids in asked], settings.tokens, settings.stop)
        rewards, lengths = self._judged([text for text, _ in asked], responses)
        gains = advantages((rewards - settings.length_penalty * lengths).reshape(len(rows), -1)).ravel()
        weighed = self._policy.weighed(responses)
        ratio = (weighed.chosen - weighed.chosen.detach()).exp()
        gain = torch.as_tensor(gains, dtype=torch.float32, device=ratio.device)[:, None]
        per_token = (settings.beta * weighed.kl - ratio * gain) * weighed.mask
        kl = weighed.kl.detach().sum(1).cpu().double().numpy()
        self._figures.append({"reward": rewards, "kl": kl, "length": lengths})
        return per_token.sum() / (settings.group * settings.tokens)

    def measured(self) -> dict[str, float]:
        """Means over the responses of a step: reward, KL in nats and length in tokens of a response."""
        parts, self._figures = self._figures, []
        return (
            {name: float(np.concatenate([part[name] for part in parts]).mean()) for name in parts[0]} if parts else {}
        )

    def look(self) -> HeldOutLook:
        """The same figures of PER_PROMPT responses to every prompt shown, and one of these responses to each."""
        import torch

        asked = [prompt for prompt in self._shown for _ in range(PER_PROMPT)]
        cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=cuda), torch.no_grad():
            torch.manual_seed(self._settings.seed + LOOK_SEED)
            responses = self._policy.write([ids for _, ids in asked], self._settings.tokens, self._settings.stop)
            rewards, lengths = self._judged([text for text, _ in asked], responses)
            at_a_time = self._settings.micro_batch * self._settings.group
            kl = [
                self._policy.weighed(responses[first : first + at_a_time]).kl.sum(1).cpu().double().numpy()
                for first in range(0, len(responses), at_a_time)
            ]
        figures = {"reward": rewards, "kl": np.concatenate(kl), "length": lengths}
        return HeldOutLook(
            figures={name: float(values.mean()) for name, values in figures.items()},
            samples=[response.text for response in responses[::PER_PROMPT]],
        )

    def _judged(self, prompts: Sequence[str], responses: Sequence[Response]) -> tuple[Array, Array]:
        """Rewards and lengths."""
        texts = [self._form.text(prompt, one.text) for prompt, one in zip(prompts, responses, strict=True)]
        each, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
        return self._rewards(list(each))[places], np.array([float(len(one.ids)) for one in responses])


def advantages(rewards: Array) -> Array:
    """[prompt, response]: how many standard deviations rewards are above their group's mean."""
    found: Array = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + EPSILON)
    return found
