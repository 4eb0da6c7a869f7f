"""Log-probabilities of labels are those of a slow oracle: one text at a time, unpadded, by the model's definition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from icm_annealer.data.task import Task
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.label_scores import Shown, label_logprobs, target_logprobs
from icm_trainer.models.label_tokens import prompts_of

TEXTS = ["Word: salmon\nGroup:", "Word: a much longer text about the hammer and the table\nGroup:", "is\nGroup:"]
TASK = Task(
    name="t",
    template="{a}",
    labels={"living": " living", "naive": [" naïve 東京", " object"], "year": " 2024 größer"},
)


@pytest.fixture(scope="module")
def model(tiny: BaseModel) -> Any:
    return tiny.load()


def by_hand(model: Any, ids: Sequence[int], targets: Sequence[int]) -> float:
    """The sum of log p of the targets behind the ids, in double precision from the logits on."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([[*ids, *targets]])).logits[0].double().log_softmax(-1)
    return math.fsum(float(logits[len(ids) + k - 1, token]) for k, token in enumerate(targets))


def test_labels_are_scored_as_by_hand(model: Any, tiny: BaseModel) -> None:
    prompts = prompts_of(TEXTS, TASK, tiny.tokenizer)
    assert max(prompt.longest_label for prompt in prompts) > 2
    expected = [
        [np.logaddexp.reduce([by_hand(model, prompt.ids, path) for path in paths]) for paths in prompt.labels]
        for prompt in prompts
    ]
    for batch in (1, 2, 3):
        assert label_logprobs(model, prompts, batch=batch) == pytest.approx(np.array(expected), abs=1e-5)


def test_the_loss_and_its_gradient_are_of_the_labels_tokens_alone(model: Any, tiny: BaseModel) -> None:
    """A batch of texts of several lengths, with labels of one token and of several."""
    import torch

    prompts = prompts_of(TEXTS, TASK, tiny.tokenizer)
    shown = [Shown(prompt.ids, prompt.labels[k][0]) for k, prompt in enumerate(prompts)]
    found = target_logprobs(model, shown)
    expected = [by_hand(model, row.ids, row.targets) for row in shown]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), model.model.embed_tokens.weight)
    parts = []
    for row in shown:
        logits = model(torch.tensor([[*row.ids, *row.targets]])).logits[0].log_softmax(-1)
        parts.append(sum(logits[len(row.ids) + k - 1, token] for k, token in enumerate(row.targets)))
    (slow,) = torch.autograd.grad(sum(parts), model.model.embed_tokens.weight)
    assert torch.allclose(gradient, slow, atol=1e-4)
