"""Work that any of several scorers can do: each piece goes to the one with the fewest under way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from icm_annealer.scoring.passes import Scorer
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse


@runtime_checkable
class Several(Protocol):
    """What a scorer has that stands for several of one model."""

    def each(self) -> Sequence[Scorer]:
        """A scorer for each of them, in a fixed order. While one is gone, another one answers its requests."""

    def up(self) -> Sequence[int]:
        """The numbers of those that are not gone."""


class Spread:
    """A scorer that sends each request to that of the scorers behind `scorer` which has the fewest under way, of those
    that are not gone; `scorer` itself, unless it is `Several`. All serve one model, so answers do not depend on which
    of them gives them."""

    def __init__(self, scorer: Scorer):
        self._scorer = scorer
        self._each = scorer.each() if isinstance(scorer, Several) else [scorer]
        self._busy = [0] * len(self._each)

    def __len__(self) -> int:
        """The number of scorers."""
        return len(self._each)

    @contextmanager
    def one(self) -> Iterator[Scorer]:
        """The scorer for work whose requests have to go to the same one, since they share contexts."""
        up = self._scorer.up() if isinstance(self._scorer, Several) else ()
        number = min(up or range(len(self)), key=self._busy.__getitem__)
        self._busy[number] += 1
        try:
            yield self._each[number]
        finally:
            self._busy[number] -= 1

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        with self.one() as scorer:
            return await scorer.score(request)

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def model(self) -> ModelInfo:
        return await self._scorer.model()
