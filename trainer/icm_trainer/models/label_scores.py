"""Log-probabilities of labels behind prompts, by transformers: for training, and for reading a tuned model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array
from icm_client.contract.label_trie import LabelTrie, TokenPath
from icm_trainer.models.label_tokens import Prompt

BATCH = 32
"""Prompts scored at a time."""


class Shown(NamedTuple):
    """A prompt with the tokens to predict behind it."""

    ids: tuple[int, ...]
    targets: TokenPath


def target_logprobs(model: Any, shown: Sequence[Shown]) -> Any:
    """[row]: the sum of log p of the row's target tokens, each behind the prompt and the targets before it: a tensor in
    float32, on the model's device."""
    import torch

    most = max(len(row.targets) for row in shown)
    logprobs = _last_logprobs(model, [(*row.ids, *row.targets[:-1]) for row in shown], most)
    targets = torch.full((len(shown), most), -1)
    for number, row in enumerate(shown):
        targets[number, most - len(row.targets) :] = torch.tensor(row.targets)
    targets = targets.to(logprobs.device)
    chosen = logprobs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (chosen * (targets >= 0)).sum(1)


def label_logprobs_tensor(model: Any, prompts: Sequence[Prompt]) -> Any:
    """[prompt, label]: the same as `label_logprobs`, as a tensor with gradients in float32, on the model's device."""
    import torch

    inputs: dict[tuple[int, ...], int] = {}
    # Of every text of every label: its tokens, and the numbers of the inputs that they follow.
    places = [
        [
            [(inputs.setdefault((*prompt.ids, *path[:depth]), len(inputs)), token) for depth, token in enumerate(path)]
            for prompt in prompts
            for path in prompt.labels[label]
        ]
        for label in range(len(prompts[0].labels))
    ]
    logprobs = _last_logprobs(model, list(inputs), 1)[:, 0]
    columns = []
    for label_places in places:
        summed = [logprobs[[row for row, _ in path], [token for _, token in path]].sum() for path in label_places]
        columns.append(torch.stack(summed).view(len(prompts), -1).logsumexp(1))
    return torch.stack(columns, 1)


def label_logprobs(
    model: Any, prompts: Sequence[Prompt], *, batch: int = BATCH, on_batch: Callable[[int], None] = lambda num: None
) -> Array:
    """[prompt, label]: log-probabilities of the labels as a scorer gives them: aliases added up, not normalised over
    the labels. `on_batch` is called with the number of prompts in each batch that is done."""
    import torch

    found = np.empty((len(prompts), len(prompts[0].labels) if prompts else 0))
    # Prompts of similar length together: less is filled up.
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number].ids))
    for first in range(0, len(order), batch):
        numbers = order[first : first + batch]
        with torch.inference_mode():
            found[numbers] = _scored(model, [prompts[number] for number in numbers])
        on_batch(len(numbers))
    return found


def _scored(model: Any, prompts: Sequence[Prompt]) -> Array:
    """One batch: a row for every inner node of the trie of label tokens, as a scorer reads it."""
    tries = [LabelTrie(prompt.labels) for prompt in prompts]
    reads = [(number, read) for number, trie in enumerate(tries) for read in trie.reads]
    inputs = [(*prompts[number].ids, *read.path) for number, read in reads]
    logprobs = _last_logprobs(model, inputs, 1)[:, 0].cpu().double().numpy()
    answers: list[dict[Any, list[float]]] = [{} for _ in prompts]
    for row, (number, read) in zip(logprobs, reads, strict=True):
        answers[number][read] = row[list(read.ids)].tolist()
    return np.array([trie.logprobs(answer) for trie, answer in zip(tries, answers, strict=True)])


def _last_logprobs(model: Any, inputs: Sequence[Sequence[int]], num: int) -> Any:
    """[row, position, token]: log-probabilities behind the last `num` positions of each input.

    Inputs are filled up on the left, so that only these positions go through the output layer.
    """
    import torch

    device = next(model.parameters()).device
    width = max(map(len, inputs))
    ids = torch.zeros(len(inputs), width, dtype=torch.long)
    is_there = torch.zeros(len(inputs), width, dtype=torch.long)
    for row, tokens in enumerate(inputs):
        ids[row, width - len(tokens) :] = torch.tensor(tokens)
        is_there[row, width - len(tokens) :] = 1
    places = (is_there.cumsum(1) - 1).clamp(min=0)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        answer = model(
            input_ids=ids.to(device),
            attention_mask=is_there.to(device),
            position_ids=places.to(device),
            logits_to_keep=num,
            use_cache=False,
        )
    return answer.logits.float().log_softmax(-1)
