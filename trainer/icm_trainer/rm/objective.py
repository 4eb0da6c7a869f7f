"""What a reward model learns: the better text of a pair gets the higher reward.

The reward of a text is the log-odds of the good label behind it, log p(good) - log p(others), so that a scorer with the
adapter gives it without a head or a route of its own. By Bradley and Terry (1952), log p(chosen over rejected) is the
log-sigmoid of the difference of their rewards; what the model thinks of both texts alike cancels out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_trainer.learning.training import HeldOutLook
from icm_trainer.models.label_scores import label_logprobs, label_logprobs_tensor
from icm_trainer.rm.rows import PairRows


class PairObjective:
    """The loss of a pair is -log p(chosen over rejected), in nats. `better` is the number of the good label."""

    def __init__(self, model: Any, rows: PairRows, better: int):
        self._model, self._rows, self._better = model, rows, better

    @property
    def weights(self) -> Array:
        return np.ones(len(self._rows.learnt))

    def begin(self, rows: Ints) -> None:
        """Nothing is made ahead."""

    def loss(self, rows: Ints) -> Any:
        import torch

        numbers, places = np.unique(self._rows.learnt[rows], return_inverse=True)
        logprobs = label_logprobs_tensor(self._model, [self._rows.prompts[number] for number in numbers])
        others = [label for label in range(logprobs.shape[1]) if label != self._better]
        rewards = logprobs[:, self._better] - logprobs[:, others].logsumexp(1)
        pairs = rewards[torch.as_tensor(places.reshape(-1, 2), device=rewards.device)]
        return -torch.nn.functional.logsigmoid(pairs[:, 0] - pairs[:, 1]).sum()

    def measured(self) -> dict[str, float]:
        return {}

    def look(self) -> HeldOutLook | None:
        """A tie is half an agreement."""
        held_out = self._rows.held_out
        if not len(held_out):
            return None
        numbers, places = np.unique(held_out, return_inverse=True)
        rewards = log_odds(
            label_logprobs(self._model, [self._rows.prompts[number] for number in numbers]), self._better
        )
        pairs = rewards[places.reshape(-1, 2)]
        margins = pairs[:, 0] - pairs[:, 1]
        return HeldOutLook(float(np.logaddexp(0, -margins).mean()), float(agreements(margins).mean()))


def log_odds(logprobs: Array, better: int) -> Array:
    """[text]: the rewards by the log-probabilities [text, label] of labels, which need not add up to 1."""
    odds: Array = logprobs[:, better] - np.logaddexp.reduce(np.delete(logprobs, better, axis=1), axis=1)
    return odds


def agreements(margins: Array) -> Array:
    """[pair]: 1 where the chosen text has the higher reward, 0.5 for a tie."""
    return (np.sign(margins) + 1) / 2
