"""The scorer's client for code without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from anyio.from_thread import start_blocking_portal

from icm_client.client import ScorerClient
from icm_client.wire import ModelInfo, ScoreRequest, ScoreResponse


class SyncScorerClient:
    """`ScorerClient` for code without an event loop, notebooks included: the same calls, blocking.

    It owns a thread with a loop of its own; close it, or use it as a context manager.
    """

    def __init__(self, base_url: str, **kwargs: Any):
        self._portal_context = start_blocking_portal()
        self._portal = self._portal_context.__enter__()
        try:
            self._client = ScorerClient(base_url, **kwargs)
        except BaseException:
            self._portal_context.__exit__(None, None, None)
            raise

    def __enter__(self) -> SyncScorerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._portal.call(self._client.close)
        self._portal_context.__exit__(None, None, None)

    def model(self) -> ModelInfo:
        """See `ScorerClient.model`."""
        return self._portal.call(self._client.model)

    def wait_ready(self, deadline_s: float) -> ModelInfo:
        """See `ScorerClient.wait_ready`."""
        return self._portal.call(self._client.wait_ready, deadline_s)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `ScorerClient.count_tokens`."""
        return self._portal.call(self._client.count_tokens, texts)

    def score(self, request: ScoreRequest) -> ScoreResponse:
        """See `ScorerClient.score`."""
        return self._portal.call(self._client.score, request)
