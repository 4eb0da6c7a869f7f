"""Rows behind shots of the core that are the same for all, and behind the core's examples that are most like each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.extending.contexts import Contexts
from icm_annealer.extending.core import Core
from icm_annealer.extending.row_scorer import ContextScorer, Scored
from icm_annealer.extending.similarity import SimilarTexts

NUM_NEIGHBOURS = 16


class NeighbourScorer:
    """The contexts of `shared`, and one further: a row's own neighbours among the core's most certain labels."""

    def __init__(self, shared: ContextScorer, core: Core, contexts: Contexts):
        self._shared, self._core = shared, core
        self._certain: Ints = np.sort(core.certain)
        self._similar = SimilarTexts([core.examples[number].text for number in self._certain])
        self._room, self._lengths = max(contexts.num_tokens), contexts.shot_lengths
        self._groups = {example.text: example.group for example in core.examples}

    @property
    def num_contexts(self) -> int:
        return self._shared.num_contexts + 1

    @property
    def num_shared(self) -> int:
        return self._shared.num_contexts

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        """See `RowScorer`. The neighbours take no more tokens than the longest of the shared contexts."""
        shared = [context for context in contexts if context < self.num_shared]
        answers = [await self._shared.score(texts, shared)] if shared else []
        if len(shared) < len(contexts):
            answers.append(await self._shared.score_behind(texts, [self.neighbours(text) for text in texts]))
        found = np.concatenate([answer.logprobs for answer in answers])
        asked = [*shared, *(context for context in contexts if context >= self.num_shared)]
        usage = sum((answer.usage for answer in answers[1:]), answers[0].usage)
        return Scored(found[[asked.index(context) for context in contexts]], usage)

    def neighbours(self, text: str) -> list[int]:
        """The core's examples in front of a row, the most similar one last; never its own text or group."""
        chosen: list[int] = []
        num_tokens, group = 0.0, self._groups.get(text)
        for number in self._certain[self._similar.nearest(text)].tolist():
            example = self._core.examples[number]
            if example.text == text or (group is not None and example.group == group):
                continue
            length = float(self._lengths[number])
            if num_tokens + length <= self._room:
                num_tokens += length
                chosen.append(number)
            if len(chosen) == NUM_NEIGHBOURS:
                break
        return chosen[::-1]
