"""Counts the tokens that all runs of a sweep compute together, and ends them at their common budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from icm_annealer.scoring.limited_scorer import BudgetSpentError
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse


class RequestCounter(Protocol):
    """Counts requests to a scorer; see `Meter`."""

    def ask(self) -> None: ...

    def answered(self, num_tokens: int) -> None: ...

    def unanswered(self) -> None: ...


class Meter:
    """The tokens of a sweep. `num_before` were computed by earlier processes; `on_tokens` is called with all so far."""

    def __init__(self, max_tokens: int | None, num_before: int, on_tokens: Callable[[int], None]):
        self._max_tokens = math.inf if max_tokens is None else max_tokens
        self._on_tokens = on_tokens
        self._num_before = self._num_tokens = num_before
        self._num_answered = self._num_under_way = 0
        on_tokens(num_before)

    @property
    def is_spent(self) -> bool:
        """Whether the budget is spent, if the requests under way cost as much as those before."""
        mean = (self._num_tokens - self._num_before) / max(self._num_answered, 1)
        return self._num_tokens + self._num_under_way * mean >= self._max_tokens

    def ask(self) -> None:
        """A request is to be sent. Raises BudgetSpentError if nothing is left for it."""
        if self.is_spent:
            raise BudgetSpentError("the sweep's budget of tokens was spent before the run's end")
        self._num_under_way += 1

    def answered(self, num_tokens: int) -> None:
        """A request was answered, which cost so many tokens."""
        self._num_under_way -= 1
        self._num_answered += 1
        self._num_tokens += num_tokens
        self._on_tokens(self._num_tokens)

    def unanswered(self, num_requests: int = 1) -> None:
        """So many requests will get no answer."""
        self._num_under_way -= num_requests


class MeteredScorer:
    """`scorer`, whose requests a meter counts. It refuses them with BudgetSpentError once the budget is spent, so this
    is exceeded by the cost of a request or two."""

    def __init__(self, scorer: Scorer, meter: RequestCounter):
        self._scorer, self._meter = scorer, meter

    async def model(self) -> ModelInfo:
        return await self._scorer.model()

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        self._meter.ask()
        try:
            answer = await self._scorer.score(request)
        except BaseException:
            self._meter.unanswered()
            raise
        self._meter.answered(answer.usage.computed_tokens)
        return answer
