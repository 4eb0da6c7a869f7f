"""Contexts of shots, drawn from the core, that stand in front of all rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.extending.core import Core
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.scoring.passes import WINDOW_MARGIN, PassScorer, Scorer
from icm_annealer.scoring.prefix_plan import PrefixPlan
from icm_annealer.search.shots import as_many_of_each
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelInfo

MOST_OF_WINDOW = 0.75
"""The share of the model's window that a context takes at most; the rest is for a row."""
MANY_READS = 10_000
LEAST_KEPT = 0.75
"""The share of a context's shots that are kept whatever it takes to end on a block boundary."""


class Contexts(NamedTuple):
    """The contexts of one extension."""

    shots: list[Ints]
    """The numbers of the core's examples, context by context, in their order there."""
    num_tokens: list[int]
    """The tokens of each context, without the beginning-of-text token."""
    lead: int
    """The tokens that every row begins with, its separator among them."""
    most_row_tokens: int
    """The most tokens of a row that fit behind every context."""
    shot_lengths: Array
    """[example of the core]: the tokens of its shot."""


async def draw_contexts(scorer: Scorer, core: Core, settings: ExtendSettings, model: ModelInfo) -> Contexts:
    """Draws the contexts: shots from the core's most certain labels, as many of each label as the rarest allows.

    A context is cut to the window, and by a few shots so that it ends on a block boundary of the prefix cache. Requests
    the lengths of the core's texts. Raises RequestError if fewer than two shots fit.
    """
    units = [np.array([number]) for number in range(len(core.examples))]
    lengths = (await PassScorer.open(scorer, core.task, core.examples, units, model)).lengths
    shot_lengths = lengths.shots(core.labels)
    num_labels, certain, rng = len(core.task.labels), core.certain, np.random.default_rng(settings.seed)
    before = int(model.adds_bos) - lengths.separator + lengths.lead
    room = MOST_OF_WINDOW * model.max_prompt_tokens - WINDOW_MARGIN
    drawn: list[Ints] = []
    for _ in range(settings.contexts):
        even = as_many_of_each(rng.permutation(certain), core.labels, num_labels)
        chosen = _in_turn(even, core.labels)[: settings.shots]
        chosen = chosen[np.cumsum(shot_lengths[chosen]) <= room]
        if len(chosen) < 2:
            raise RequestError(
                f"the shots of {core.folder} do not fit {MOST_OF_WINDOW:.0%} of the model's window of "
                f"{model.max_prompt_tokens:,} tokens: use a model with a larger window",
                code="window",
            )
        chosen = _aligned(rng.permutation(chosen), shot_lengths, before, model.cache_block_tokens)
        drawn.append(chosen)
    num_tokens = [int(shot_lengths[shots].sum()) - lengths.separator for shots in drawn]
    most = model.max_prompt_tokens - max(num_tokens) - lengths.separator - WINDOW_MARGIN
    return Contexts(drawn, num_tokens, lengths.lead, most, shot_lengths)


def _aligned(chosen: Ints, lengths: Array, before: int, block: int) -> Ints:
    """The first of `chosen`, all but a quarter at least, so that a context's end is as close behind the end of a block
    as can be: what is behind it is computed again for every row."""
    best, least = chosen, float(block)
    for num in range(len(chosen), max(math.ceil(LEAST_KEPT * len(chosen)), 2) - 1, -1):
        plan = PrefixPlan([(None, chosen[:num].tolist())], [(0, -1)] * MANY_READS)
        shots = np.array(plan.aligned(lengths, before, block).prefixes[0][1], dtype=np.int64)
        behind = (float(lengths[shots].sum()) + before) % block
        if behind < least:
            best, least = shots, behind
    return best


def _in_turn(chosen: Ints, labels: Ints) -> Ints:
    """The same examples, so that the first ones have all labels about equally often."""
    rank = np.zeros(len(chosen), dtype=np.int64)
    for label in np.unique(labels[chosen]):
        members = np.flatnonzero(labels[chosen] == label)
        rank[members] = np.arange(len(members))
    return chosen[np.argsort(rank, kind="stable")]
