"""A scorer whose calls block, such as `SyncScorerClient`, for an event loop. A leaf."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from icm_annealer.scoring.passes import Scorer
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse

_Answer = TypeVar("_Answer")


class BlockingScorer:
    """Runs each call of `scorer` in a new thread. Cancelled work does not wait for that thread."""

    def __init__(self, scorer: Any):
        self._scorer = scorer

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        return await _in_thread(lambda: self._scorer.score(request))

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await _in_thread(lambda: self._scorer.count_tokens(texts, special_tokens=special_tokens))

    async def model(self) -> ModelInfo:
        return await _in_thread(self._scorer.model)


def awaitable(scorer: Any) -> Scorer:
    """A scorer whose calls are coroutines: `scorer` itself if they already are."""
    return scorer if inspect.iscoroutinefunction(scorer.score) else BlockingScorer(scorer)


async def _in_thread(call: Callable[[], _Answer]) -> _Answer:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Answer] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if not answer.done():  # the work was cancelled
            answer.set_exception(error) if error else answer.set_result(value)

    def run() -> None:
        value, error = None, None
        try:
            value = call()
        except Exception as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="icm-scorer-call", daemon=True).start()
    return await answer
