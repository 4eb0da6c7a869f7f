"""A scorer with a budget of tokens and of time, for work that can end at any request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import IcmError
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse, Usage


class BudgetSpentError(IcmError):
    """The budget was spent before the work was done."""

    code = "budget_spent"


class LimitedScorer:
    """`scorer`, until it has computed `max_tokens` or `max_seconds` have passed; None is no limit.

    A request is refused with BudgetSpentError once the tokens or the time have reached the limit, so both exceed it by
    less than one request.
    """

    def __init__(
        self,
        scorer: Scorer,
        max_tokens: int | None,
        max_seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._scorer, self._clock = scorer, clock
        self._max_tokens = math.inf if max_tokens is None else max_tokens
        self._start = clock()
        self._end = math.inf if max_seconds is None else self._start + max_seconds
        self.usage = Usage()
        """What the scorer was asked and computed so far."""

    @property
    def seconds(self) -> float:
        """The time since it was made."""
        return self._clock() - self._start

    async def model(self) -> ModelInfo:
        return await self._scorer.model()

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        if self.usage.computed_tokens >= self._max_tokens or self._clock() >= self._end:
            raise BudgetSpentError("the budget was spent before the work was done")
        answer = await self._scorer.score(request)
        self.usage += answer.usage
        return answer
