"""Labelled texts as tokens, and which of them are held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.data.examples import groups_of
from icm_client.contract.errors import RequestError
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.label_scores import Shown
from icm_trainer.models.label_tokens import Prompt, cut_to, prompts_of
from icm_trainer.sft.labelled import LabelSet
from icm_trainer.sft.settings import MIN_HELD_OUT, SftSettings


@dataclass(frozen=True)
class TrainingRows:
    """All rows, in the order of the labels given."""

    prompts: Sequence[Prompt]
    labels: Ints
    is_held_out: npt.NDArray[np.bool_]
    weights: Array
    """[row]: how much each row counts."""
    num_cut: int

    @property
    def learnt(self) -> Ints:
        """The numbers of the rows that are learnt from."""
        return np.flatnonzero(~self.is_held_out)

    @property
    def held_out(self) -> Ints:
        return np.flatnonzero(self.is_held_out)

    def shown(self) -> list[Shown]:
        """Each row as it is learnt: the text, and its label's verbalizer."""
        return [
            Shown(prompt.ids, prompt.labels[label][0]) for prompt, label in zip(self.prompts, self.labels, strict=True)
        ]


class Fitted(NamedTuple):
    """Prompts that the model can read."""

    prompts: list[Prompt]
    num_cut: int
    """How many lost their beginning."""


def training_rows(labels: LabelSet, base: BaseModel, settings: SftSettings) -> TrainingRows:
    """Raises RequestError for texts that are too long, and for labels that merge with their texts."""
    prompts = prompts_of(labels.texts, labels.task, base.tokenizer)
    fit = fitted(prompts, base, settings, lambda number: labels.rows[number].example.id)
    numbers = labels.labels
    is_held_out = _held_out(labels, numbers, settings)
    return TrainingRows(fit.prompts, numbers, is_held_out, _weights(numbers, settings), fit.num_cut)


def fitted(prompts: Sequence[Prompt], base: BaseModel, settings: SftSettings, name: Callable[[int], str]) -> Fitted:
    """The prompts, cut where the settings allow it. Raises RequestError for those that are too long; `name` names one
    by its number."""
    limit = min(settings.max_tokens, base.window)
    is_long = [prompt.num_tokens > limit for prompt in prompts]
    if any(is_long) and not settings.cut:
        longest = max(range(len(prompts)), key=lambda number: prompts[number].num_tokens)
        is_most = limit == base.window
        room = "" if is_most else f"raise --text-tokens (up to the {base.window:,} of {base.name}), "
        raise RequestError(
            f"{sum(is_long):,} of {len(prompts):,} texts are longer than {limit:,} tokens"
            + f", the most that {base.name} reads" * is_most
            + f"; the longest ({name(longest)!r}) has {prompts[longest].num_tokens:,}: {room}leave them out, or let "
            "--cut take off their beginning",
            code="too_long",
        )
    bos = base.tokenizer.bos
    cut = [cut_to(prompt, limit, bos) for prompt in prompts]
    if any(len(prompt.ids) <= len(bos) for prompt in cut):
        raise RequestError(f"--text-tokens {limit} leaves nothing of a text in front of its label", code="too_long")
    return Fitted(cut, sum(is_long))


def _held_out(labels: LabelSet, numbers: Ints, settings: SftSettings) -> npt.NDArray[np.bool_]:
    """Every n-th group, in a random order that is sorted by label, so that the shares of labels are kept. None, if
    these were too few or would take a label's last rows."""
    chosen = np.zeros(len(numbers), dtype=bool)
    if not settings.held_out:
        return chosen
    groups = groups_of([row.example for row in labels.rows])
    rng = np.random.default_rng([settings.seed, 1])
    drawn = sorted((groups[number] for number in rng.permutation(len(groups))), key=lambda group: numbers[group[0]])
    every = round(1 / settings.held_out)
    for group in drawn[int(rng.integers(every)) :: every]:
        chosen[group] = True
    if chosen.sum() < MIN_HELD_OUT or set(numbers[~chosen]) != set(numbers):
        chosen[:] = False
    return chosen


def _weights(numbers: Ints, settings: SftSettings) -> Array:
    """1, or the inverse of the share of the row's label."""
    if not settings.class_weights:
        return np.ones(len(numbers))
    there, counts = np.unique(numbers, return_counts=True)
    weight = dict(zip(there, len(numbers) / len(there) / counts, strict=True))
    return np.array([weight[number] for number in numbers])
