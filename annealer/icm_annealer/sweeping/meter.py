"""Counts the tokens that all runs of a sweep compute together, and ends them at their common budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from icm_annealer.scoring.limited_scorer import BudgetSpentError
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse


class Meter:
    """The tokens of a sweep. `num_before` were computed by earlier processes; `on_tokens` is called with all so far."""

    def __init__(self, max_tokens: int | None, num_before: int, on_tokens: Callable[[int], None]):
        self._max_tokens = math.inf if max_tokens is None else max_tokens
        self._on_tokens = on_tokens
        self.num_tokens = 0
        self.add(num_before)

    @property
    def is_spent(self) -> bool:
        return self.num_tokens >= self._max_tokens

    def add(self, num_tokens: int) -> None:
        self.num_tokens += num_tokens
        self._on_tokens(self.num_tokens)


class MeteredScorer:
    """`scorer`, whose tokens a meter counts. A request is refused with BudgetSpentError once the budget is spent, so it
    is exceeded by less than the requests that are under way."""

    def __init__(self, scorer: Scorer, meter: Meter):
        self._scorer, self._meter = scorer, meter

    async def model(self) -> ModelInfo:
        return await self._scorer.model()

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        if self._meter.is_spent:
            raise BudgetSpentError("the sweep's budget of tokens was spent before the run's end")
        answer = await self._scorer.score(request)
        self._meter.add(answer.usage.computed_tokens)
        return answer
