"""Pairs as tokens, and which of them are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import groups_of
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.label_tokens import Prompt, prompts_of
from icm_trainer.rm.pairs import PairSet
from icm_trainer.sft.rows import fitted
from icm_trainer.sft.settings import MIN_HELD_OUT, SftSettings


@dataclass(frozen=True)
class PairRows:
    """All pairs, in the order given."""

    prompts: Sequence[Prompt]
    """Each text once."""
    pairs: Ints
    """[pair, 2]: the numbers of the chosen and of the rejected text."""
    is_held_out: npt.NDArray[np.bool_]
    num_cut: int

    @property
    def learnt(self) -> Ints:
        """[pair, 2]: those that are learnt from."""
        return self.pairs[~self.is_held_out]

    @property
    def held_out(self) -> Ints:
        """[pair, 2]"""
        return self.pairs[self.is_held_out]


def pair_rows(given: PairSet, base: BaseModel, settings: SftSettings) -> PairRows:
    """Raises RequestError for texts that are too long, and for labels that merge with their texts."""
    texts = given.texts
    prompts = prompts_of(texts, given.form, base.tokenizer)
    fit = fitted(prompts, base, settings, lambda number: texts[number][:40])
    place = {text: number for number, text in enumerate(texts)}
    pairs = np.array([[place[pair.chosen], place[pair.rejected]] for pair in given.pairs], dtype=np.int64)
    return PairRows(fit.prompts, pairs, _held_out(given, settings), fit.num_cut)


def _held_out(given: PairSet, settings: SftSettings) -> npt.NDArray[np.bool_]:
    """Random groups with the share asked for of the pairs; none, if these were too few or all of them."""
    chosen = np.zeros(len(given.pairs), dtype=bool)
    groups = groups_of(given.pairs)
    wanted = round(settings.held_out * len(given.pairs))
    for number in np.random.default_rng([settings.seed, 1]).permutation(len(groups)):
        if chosen.sum() + len(groups[number]) <= wanted:
            chosen[groups[number]] = True
    if chosen.sum() < MIN_HELD_OUT or chosen.all():
        chosen[:] = False
    return chosen
