"""The scorer's client for code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

from icm_client.client import ScorerClient
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse

_Answer = TypeVar("_Answer")


class SyncScorerClient:
    """`ScorerClient` for code without an event loop, notebooks included: the same calls, blocking.

    It owns a thread with a loop of its own; close it, or use it as a context manager.
    """

    def __init__(self, base_url: str, **kwargs: Any):
        self._client = ScorerClient(base_url, **kwargs)
        self._loop = asyncio.new_event_loop()
        # A daemon, so that a program that does not close its client ends all the same.
        self._thread = threading.Thread(target=self._loop.run_forever, name="scorer-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> SyncScorerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def model(self) -> ModelInfo:
        """See `ScorerClient.model`."""
        return self._wait(self._client.model())

    def wait_ready(self, deadline_s: float) -> ModelInfo:
        """See `ScorerClient.wait_ready`."""
        return self._wait(self._client.wait_ready(deadline_s))

    def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        """See `ScorerClient.count_tokens`."""
        return self._wait(self._client.count_tokens(texts, special_tokens=special_tokens))

    def score(self, request: ScoreRequest) -> ScoreResponse:
        """See `ScorerClient.score`."""
        return self._wait(self._client.score(request))

    def _wait(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return answer.result()
        except BaseException:
            answer.cancel()  # Ctrl-C: what nobody waits for is not to go on
            raise
