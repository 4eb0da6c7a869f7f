"""What a policy learns: group relative policy optimisation (GRPO, Shao et al. 2024), on its own responses.

Every prompt of a step gets a group of responses; a response is as good as its reward is above the group's mean, in the
group's standard deviations. The loss is that of TRL's `dr_grpo`: summed over tokens and divided by the most tokens that
a response may have, so that it does not pay to make bad responses long, as it does where each response is divided by
its own length. Each response is learnt from once, so the ratio to the policy that wrote it is 1, and nothing is
clipped. A server that wrote it has rounded the policy's weights: its tokens count by how much likelier they are by the
weights that are learnt, at most MOST_WEIGHT times (truncated importance sampling, Yao et al. 2025).

The KL to the start is the sum over the whole vocabulary at every position: exact, where the usual estimate from the
token written alone is noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_client.contract.errors import RequestError
from icm_trainer.learning.training import HeldOutLook
from icm_trainer.rl.policy import Policy, Response, Weighed, Writer
from icm_trainer.rl.prompts import PromptForm
from icm_trainer.rl.settings import RlSettings
from icm_trainer.rm.pairing import Rewards

EPSILON = 1e-4
"""Added to standard deviations, as TRL does: a group of equal rewards teaches nothing."""
LOOK_SEED = 7_919
"""Of the responses at looks, which are drawn with the same numbers every time, so that looks differ by the policy."""
PER_PROMPT = 4
"""Responses to each prompt that is shown."""
MOST_WEIGHT = 3.0
"""TRL's."""
MOST_APART = 0.3
"""Nats per token between the policy and what wrote the responses, in the mean. Weights in 16 bits are apart by
hundredths; another model, or one without the adapter, by more."""


class GrpoObjective:
    """`writer` writes the responses of `policy`. `prompts` are the texts and tokens that are learnt from, `shown` those
    of looks. `rewards` are of texts."""

    def __init__(
        self,
        policy: Policy,
        writer: Writer,
        form: PromptForm,
        prompts: Sequence[tuple[str, tuple[int, ...]]],
        shown: Sequence[tuple[str, tuple[int, ...]]],
        rewards: Rewards,
        settings: RlSettings,
    ):
        self._policy, self._writer = policy, writer
        self._form, self._rewards, self._settings = form, rewards, settings
        self._prompts, self._shown = prompts, shown
        self._written: dict[int, list[Response]] = {}
        self._figures: list[dict[str, Array]] = []

    @property
    def weights(self) -> Array:
        return np.ones(len(self._prompts))

    def begin(self, rows: Ints) -> None:
        """The responses of a step are written together, however few of them fit into memory to be learnt from."""
        group = self._settings.group
        asked = [self._prompts[row][1] for row in rows for _ in range(group)]
        written = self._writer.write(asked, self._settings.tokens, self._settings.stop)
        self._written = {int(row): written[place * group :][:group] for place, row in enumerate(rows)}

    def loss(self, rows: Ints) -> Any:
        import torch

        settings = self._settings
        responses = [one for row in rows for one in self._written[int(row)]]
        prompts = [self._prompts[row][0] for row in rows for _ in range(settings.group)]
        rewards, lengths = self._judged(prompts, responses)
        gains = advantages((rewards - settings.length_penalty * lengths).reshape(len(rows), -1)).ravel()
        weighed = self._policy.weighed(responses)
        ratio = (weighed.chosen - weighed.chosen.detach()).exp()
        gain = torch.as_tensor(gains, dtype=torch.float32, device=ratio.device)[:, None]
        weight = weighed.apart.exp().clamp(max=MOST_WEIGHT)
        per_token = (settings.beta * weighed.kl - weight * ratio * gain) * weighed.mask
        self._figures.append({"reward": rewards, "length": lengths, **self._figures_of(weighed, responses)})
        return per_token.sum() / (settings.group * settings.tokens)

    def measured(self) -> dict[str, float]:
        """Means over the responses of a step: reward, KL in nats and length in tokens of a response; and, where
        something else than the policy wrote them, `mismatch`: how many nats per token its log-probabilities are
        apart."""
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
            responses = self._writer.write([ids for _, ids in asked], self._settings.tokens, self._settings.stop)
            rewards, lengths = self._judged([text for text, _ in asked], responses)
            at_a_time = self._settings.micro_batch * self._settings.group
            parts = [responses[first : first + at_a_time] for first in range(0, len(responses), at_a_time)]
            found = [self._figures_of(self._policy.weighed(part), part) for part in parts]
        figures = {"reward": rewards, "length": lengths} | {
            name: np.concatenate([one[name] for one in found]) for name in found[0]
        }
        return HeldOutLook(
            figures={name: float(values.mean()) for name, values in figures.items()},
            samples=[response.text for response in responses[::PER_PROMPT]],
        )

    def _figures_of(self, weighed: Weighed, responses: Sequence[Response]) -> dict[str, Array]:
        """[response]. Raises RequestError if something else than the policy wrote them."""
        figures = {"kl": weighed.kl.detach().sum(1).cpu().double().numpy()}
        if responses[0].logprobs:
            apart = (weighed.apart.abs().sum(1) / weighed.mask.sum(1)).cpu().double().numpy()
            if not apart.mean() <= MOST_APART:
                raise RequestError(
                    f"what writes the responses is no copy of the policy: its log-probabilities are {apart.mean():.2f} "
                    f"nats per token apart (at most {MOST_APART:g} are expected of weights in 16 bits): does it serve "
                    "the model that the policy starts from, without quantization?",
                    code="other_model",
                )
            figures["mismatch"] = apart
        return figures

    def _judged(self, prompts: Sequence[str], responses: Sequence[Response]) -> tuple[Array, Array]:
        """Rewards and lengths."""
        texts = [self._form.text(prompt, one.text) for prompt, one in zip(prompts, responses, strict=True)]
        each, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
        return self._rewards(list(each))[places], np.array([float(len(one.ids)) for one in responses])


def advantages(rewards: Array) -> Array:
    """[prompt, response]: how many standard deviations rewards are above their group's mean."""
    found: Array = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + EPSILON)
    return found
