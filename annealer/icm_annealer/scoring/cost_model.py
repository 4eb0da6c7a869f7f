"""What passes cost on an engine with a cold prefix cache that forgets nothing: counted, not measured. Pure.

What an engine reports depends on what it was asked before, and by whom. This count does not, so searches are compared
by it, and plans that take too long to run are priced by it. The annealer has no tokenizer: it knows how long texts
are, and takes any two examples to differ in all their tokens behind what all texts begin with. Where they share more,
an engine can compute a little less (a block now and then); where its memory is too small, much more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.scoring.passes import PassRequest, PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind, PrefixPlan

FIXED = PlanKind("fixed")

_LABELS, _EXAMPLES = 1 << 24, 1 << 32
"""Where the made-up token ids of labels and of examples begin; below are those that all texts share."""
_MOST_TOKENS = 1 << 20
"""Ids kept for one text."""


class PassTokens(NamedTuple):
    """Made-up token ids, equal where texts are."""

    front: Ints
    """Of what stands in front of every prompt."""
    examples: list[Ints]
    """Of every example's text as the first behind that."""
    separated: list[Ints]
    """Of the same with the separator in front."""
    labels: list[Ints]
    """Of each label's verbalizer."""

    @classmethod
    async def of(cls, passes: PassScorer) -> PassTokens:
        """The texts of one dataset; asks the scorer how long each is without a separator."""
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


class _End(NamedTuple):
    """Where a sequence of tokens ends: its last whole block in the cache, and what it has beyond."""

    block: int
    rest: Ints


class PrefixCache:
    """Whole blocks of tokens, each known by all that stands in front of it."""

    def __init__(self, tokens: PassTokens, block_tokens: int):
        self._tokens, self._size = tokens, block_tokens
        self._blocks: dict[tuple[int, bytes], int] = {}
        self._num_new = 0

    def compute(self, plan: PrefixPlan, labels: Ints) -> int:
        """Tokens that the engine computes for this pass, after all passes before; one read a prompt is counted,
        which is all where each label has a first token of its own."""
        self._num_new = num_beyond = 0
        ends: dict[int | None, _End] = {None: _End(0, self._tokens.front)}
        for prefix, query in plan.reads:  # in this order: who comes first computes what others find
            self._extend(plan, labels, prefix, ends)
            num_new = self._num_new
            end = self._append(ends[prefix], self._text(query, leads=prefix is None))
            num_beyond += len(end.rest)
            if not len(end.rest) and self._num_new == num_new:
                num_beyond += self._size  # an engine always computes a prompt's last token, and the block it is in
        return self._num_new * self._size + num_beyond

    def _extend(self, plan: PrefixPlan, labels: Ints, prefix: int | None, ends: dict[int | None, _End]) -> None:
        """Puts the end of `prefix`, and of all above it, into `ends`."""
        missing: list[int] = []
        while prefix is not None and prefix not in ends:
            missing.append(prefix)
            prefix = plan.prefixes[prefix][0]
        for number in reversed(missing):
            parent, shots = plan.prefixes[number]
            end = ends[parent]
            for place, shot in enumerate(shots):
                end = self._append(end, self._text(shot, leads=parent is None and place == 0))
                end = self._append(end, self._tokens.labels[labels[shot]])
            ends[number] = end

    def _text(self, example: int, leads: bool) -> Ints:
        return self._tokens.examples[example] if leads else self._tokens.separated[example]

    def _append(self, end: _End, ids: Ints) -> _End:
        block, rest = end.block, np.concatenate([end.rest, ids])
        num_whole = len(rest) // self._size
        for number in range(num_whole):
            key = (block, rest[number * self._size : (number + 1) * self._size].tobytes())
            if key not in self._blocks:
                self._blocks[key] = len(self._blocks) + 1
                self._num_new += 1
            block = self._blocks[key]
        return _End(block, rest[num_whole * self._size :])


class TokenCounter:
    """Counts the tokens of one search's passes, each after all passes before it."""

    def __init__(self, passes: PassScorer, texts: PassTokens, *, counts_fixed: bool = False):
        """`counts_fixed`: also count what plan `fixed` would have computed, whatever plan the search asks by."""
        self._passes, self._texts = passes, texts
        self._own, self._fixed = self._cold(), self._cold() if counts_fixed else None
        self.tokens = 0
        """Computed tokens."""
        self.fixed_tokens = 0
        """The same if all passes had been sent by plan `fixed`. Where the order never changes, as in the published
        search, most of a pass is what the pass before left in the cache."""
        self.fixed_tokens_cold = 0
        """The same if the cache forgot everything after each pass: on an engine that has no room for one."""

    def add(self, request: PassRequest) -> None:
        """Counts one more pass."""
        self.tokens += self._count(self._own, request)
        if self._fixed:
            fixed = replace(request, plan=FIXED)
            self.fixed_tokens += self._count(self._fixed, fixed)
            self.fixed_tokens_cold += self.cold(fixed)

    def cold(self, request: PassRequest) -> int:
        """Tokens of this pass alone, on an engine that has computed nothing before. Counts nothing."""
        return self._count(self._cold(), request)

    def _count(self, cache: PrefixCache, request: PassRequest) -> int:
        return cache.compute(self._passes.plan(request), request.labels)

    def _cold(self) -> PrefixCache:
        return PrefixCache(self._texts, self._passes.model.cache_block_tokens)
