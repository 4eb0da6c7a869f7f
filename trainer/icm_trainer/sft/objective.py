"""What a classifier learns: the tokens of its label behind every text, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import normalized
from icm_trainer.learning.training import HeldOutLook
from icm_trainer.models.label_scores import label_logprobs, target_logprobs
from icm_trainer.sft.rows import TrainingRows


class LabelObjective:
    """The loss of a row is -log p(its label's tokens | its text), summed over the tokens, in nats. No end of text is
    learnt behind a label: a scorer reads none."""

    def __init__(self, model: Any, rows: TrainingRows):
        self._model, self._rows = model, rows
        shown = rows.shown()
        self._shown = [shown[number] for number in rows.learnt]
        self._held_out = [rows.prompts[number] for number in rows.held_out]

    @property
    def weights(self) -> Array:
        return self._rows.weights[self._rows.learnt]

    def begin(self, rows: Ints) -> None:
        """Nothing is made ahead."""

    def loss(self, rows: Ints) -> Any:
        import torch

        logprobs = target_logprobs(self._model, [self._shown[number] for number in rows])
        return -(logprobs * torch.tensor(self.weights[rows], dtype=torch.float32, device=logprobs.device)).sum()

    def measured(self) -> dict[str, float]:
        return {}

    def look(self) -> HeldOutLook | None:
        """The loss is of the labels' probabilities among themselves; both figures are weighted like the rows."""
        if not self._held_out:
            return None
        held_out = self._rows.held_out
        given, weights = self._rows.labels[held_out], self._rows.weights[held_out]
        scores = normalized(label_logprobs(self._model, self._held_out))
        losses = -scores[np.arange(len(given)), given]
        is_right = scores.argmax(axis=1) == given
        return HeldOutLook(float(np.average(losses, weights=weights)), float(np.average(is_right, weights=weights)))
