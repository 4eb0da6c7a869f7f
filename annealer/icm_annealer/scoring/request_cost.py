"""Counts the tokens of score requests as a scorer with an empty prefix cache and a cache of answers would compute them.

A request holds texts, of which a scorer gives the numbers of tokens, not the tokens. So any two texts are assumed to
differ in all tokens after their common start, as in `cost_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.scoring.block_cache import BlockCache, End
from icm_annealer.scoring.passes import Scorer, common_start
from icm_client.contract.wire import ModelInfo, ScoreRequest, Usage, label_texts

_LABELS, _TEXTS = 1 << 24, 1 << 32
"""The first synthetic token ids of labels and of other texts; smaller ids belong to the common start of all texts."""
_MOST_TOKENS = 1 << 20
"""Token ids reserved for one text."""


class _Path(NamedTuple):
    """A token sequence: its end in the cache, and its number of tokens."""

    end: End
    num_tokens: int


class RequestCounter:
    """Counts requests in sequence; create it with the scorer that counts the tokens of texts."""

    def __init__(self, scorer: Scorer, model: ModelInfo):
        self._scorer, self._model = scorer, model
        self._cache = BlockCache(model.cache_block_tokens)
        self._answered: set[tuple[int, bytes]] = set()
        self._counts: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._start = ""
        self.longest_prompt = 0
        """The tokens of the longest prompt so far."""

    async def add(self, request: ScoreRequest) -> Usage:
        """The cost of the request after all earlier ones. Raises the errors of `count_tokens`."""
        ids = await self._segment_ids(request)
        labels = [self._counts[text] for label in request.labels for text in label_texts(label)]
        cache = self._cache
        root = _Path(End(0, -1 - np.arange(int(self._model.adds_bos))), int(self._model.adds_bos))
        before, num_beyond, num_prompt_tokens, num_known = cache.num_tokens, 0, 0, 0
        paths: list[_Path] = []

        def path_of(parent: int | None, segments: Sequence[int | None]) -> _Path:
            end, num = root if parent is None else paths[parent]
            for segment in segments:
                assert segment is not None
                end, num = cache.append(end, ids[segment]), num + len(ids[segment])
            return _Path(end, num)

        for parent, *segments in request.prefixes:
            paths.append(path_of(parent, segments))
        for prompt in request.prompts:
            assert not isinstance(prompt, str)
            end, num = path_of(prompt[0], prompt[1:])
            num_prompt_tokens += num
            self.longest_prompt = max(self.longest_prompt, num)
            key = end.block, end.rest.tobytes()
            if key in self._answered:
                if not request.fresh:
                    num_known += 1
                    continue
                num_beyond += 0 if len(end.rest) else cache.block_tokens
            self._answered.add(key)
            # Further reads, behind the first tokens of a label. An engine always computes a prompt's last token.
            depths = (depth for length in labels for depth in range(1, length))
            further = sum((len(end.rest) + depth) % cache.block_tokens or cache.block_tokens for depth in depths)
            num_beyond += len(end.rest) + further
        computed = cache.num_tokens - before + num_beyond
        return Usage(
            prompt_tokens=num_prompt_tokens,
            computed_tokens=computed,
            cached_tokens=max(num_prompt_tokens - computed, 0),
            num_reads=len(request.prompts) - num_known,
            read_cache_prompts=num_known,
        )

    async def _segment_ids(self, request: ScoreRequest) -> list[Ints]:
        """Synthetic token ids of each segment."""
        separator = request.terminator or ""
        verbalizers = {text: None for label in request.labels for text in label_texts(label)}
        texts = {text.removeprefix(separator): None for text in request.segments if text not in verbalizers}
        if len(texts) > 1:
            start = common_start([*texts, *([self._start + " x"] if self._start else [])])
            self._start = start or self._start
        asked = [*verbalizers, *texts, *(separator + text for text in texts), self._start, separator + self._start]
        await self._count([text for text in asked if text not in self._counts], request)
        num_start = self._counts[separator + self._start]

        def ids(text: str) -> Ints:
            if text in verbalizers:
                return _LABELS + self._number(text) * _MOST_TOKENS + np.arange(self._counts[text])
            bare = text.removeprefix(separator)
            num = self._counts[separator + bare]
            num_shared = min(num_start, num) if bare.startswith(self._start) else 0
            own = _TEXTS + self._number(bare) * _MOST_TOKENS + np.arange(num_shared, num)
            whole: Ints = np.concatenate([np.arange(num_shared), own])[max(num - self._counts[text], 0) :]
            return whole

        return [ids(text) for text in request.segments]

    async def _count(self, texts: Sequence[str], request: ScoreRequest) -> None:
        if texts:
            counts = await self._scorer.count_tokens(texts, special_tokens=request.special_tokens)
            self._counts.update(zip(texts, counts, strict=True))

    def _number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))
