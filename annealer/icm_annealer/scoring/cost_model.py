"""Counts the tokens that passes compute with a prefix cache that starts empty and never evicts. Pure.

The tokens that an engine reports depend on its earlier requests. This count does not, so it serves to compare searches
and to estimate plans that take too long to run. The annealer has no tokenizer: it uses the lengths of texts, and
assumes that any two examples differ in all tokens after the common start of all texts. If they share more, an engine
computes slightly less (one block now and then); if its cache is too small, much more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.scoring.block_cache import BlockCache, End
from icm_annealer.scoring.passes import PassRequest, PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind, PrefixPlan

FIXED = PlanKind("fixed")

_LABELS, _EXAMPLES = 1 << 24, 1 << 32
"""The first synthetic token ids of labels and of examples; smaller ids belong to the common start of all texts."""
_MOST_TOKENS = 1 << 20
"""Token ids reserved for one text."""


class PassTokens(NamedTuple):
    """Synthetic token ids, equal for equal texts."""

    front: Ints
    """The ids at the start of every prompt."""
    examples: list[Ints]
    """The ids of each example's text as the first text of a prompt."""
    separated: list[Ints]
    """The ids of each example's text after a separator."""
    labels: list[Ints]
    """The ids of each label's verbalizer."""

    @classmethod
    async def of(cls, passes: PassScorer) -> PassTokens:
        """The tokens of one dataset. Requests each text's length without a separator from the scorer."""
        lengths, num_alone = passes.lengths, await passes.lengths_alone()
        num_lead, num_texts = lengths.lead, lengths.texts.tolist()
        rows = [
            np.concatenate([np.arange(min(num_lead, num)), _EXAMPLES + k * _MOST_TOKENS + np.arange(num_lead, num)])
            for k, num in enumerate(num_texts)
        ]
        firsts = [row[max(len(row) - num, 0) :] for row, num in zip(rows, num_alone, strict=True)]
        return cls(
            -1 - np.arange(int(passes.model.adds_bos) + lengths.preamble),
            rows if passes.has_preamble else firsts,
            rows,
            [_LABELS + k * _MOST_TOKENS + np.arange(num) for k, num in enumerate(lengths.labels.tolist())],
        )


class PrefixCache:
    """A prefix cache of full blocks, for passes."""

    def __init__(self, tokens: PassTokens, block_tokens: int):
        self._tokens, self._cache = tokens, BlockCache(block_tokens)

    def compute(self, plan: PrefixPlan, labels: Ints) -> int:
        """The tokens that the engine computes for this pass, after all earlier passes. Counts one read per prompt,
        which is exact if all labels differ in their first token."""
        before, num_beyond = self._cache.num_tokens, 0
        ends: dict[int | None, End] = {None: End(0, self._tokens.front)}
        for prefix, query in plan.reads:  # in this order: the first read computes what later ones share
            self._extend(plan, labels, prefix, ends)
            num_known = self._cache.num_tokens
            end = self._cache.append(ends[prefix], self._text(query, leads=prefix is None))
            num_beyond += len(end.rest)
            if not len(end.rest) and self._cache.num_tokens == num_known:
                num_beyond += self._cache.block_tokens  # an engine recomputes a prompt's last token with its block
        return self._cache.num_tokens - before + num_beyond

    def _extend(self, plan: PrefixPlan, labels: Ints, prefix: int | None, ends: dict[int | None, End]) -> None:
        """Adds the ends of `prefix` and its ancestors to `ends`."""
        missing: list[int] = []
        while prefix is not None and prefix not in ends:
            missing.append(prefix)
            prefix = plan.prefixes[prefix][0]
        for number in reversed(missing):
            parent, shots = plan.prefixes[number]
            end = ends[parent]
            for place, shot in enumerate(shots):
                end = self._cache.append(end, self._text(shot, leads=parent is None and place == 0))
                end = self._cache.append(end, self._tokens.labels[labels[shot]])
            ends[number] = end

    def _text(self, example: int, leads: bool) -> Ints:
        return self._tokens.examples[example] if leads else self._tokens.separated[example]


class TokenCounter:
    """Counts the tokens of one search's passes in sequence."""

    def __init__(self, passes: PassScorer, texts: PassTokens, *, counts_fixed: bool = False):
        """`counts_fixed`: also count the tokens if all passes used plan `fixed`."""
        self._passes, self._texts = passes, texts
        self._own, self._fixed = self._cold(), self._cold() if counts_fixed else None
        self.tokens = 0
        """Computed tokens."""
        self.fixed_tokens = 0
        """Computed tokens if all passes used plan `fixed`. If the order never changes, as in the published search, most
        of a pass is in the cache from the pass before."""
        self.fixed_tokens_cold = 0
        """Computed tokens by plan `fixed` if the cache were cleared after each pass, as on an engine without room for
        one."""

    def add(self, request: PassRequest) -> None:
        """Adds one pass to the counts."""
        self.tokens += self._count(self._own, request)
        if self._fixed:
            fixed = replace(request, plan=FIXED)
            self.fixed_tokens += self._count(self._fixed, fixed)
            self.fixed_tokens_cold += self.cold(fixed)

    def cold(self, request: PassRequest) -> int:
        """The tokens of this pass with an empty cache. Changes no count."""
        return self._count(self._cold(), request)

    def _count(self, cache: PrefixCache, request: PassRequest) -> int:
        return cache.compute(self._passes.plan(request), request.labels)

    def _cold(self) -> PrefixCache:
        return PrefixCache(self._texts, self._passes.model.cache_block_tokens)
