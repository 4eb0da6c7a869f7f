"""The scorer's client for code without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

import httpx

from icm_client.client import ScorerClient
from icm_client.contract.adapters import AdapterInfo, AdapterList
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse
from icm_client.http.retry import RetryPolicy
from icm_client.score_fields import ScoreFields

_Answer = TypeVar("_Answer")


class SyncScorerClient:
    """A client of one scorer for code without an event loop, notebooks included: ScorerClient's calls, blocking.

    >>> with SyncScorerClient(url) as scorer:  # such as "http://localhost:8000", api_key="icm_..."
    ...     answer = scorer.score(prompts=["Word: salmon\\nGroup:"], labels=[" living", " object"])
    >>> len(answer.logprobs), len(answer.logprobs[0])
    (1, 2)

    The arguments are those of ScorerClient. It owns a thread with an event loop: close it, or use it as a context
    manager.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        read_timeout_s: float = 3600.0,
        max_prompts: int = 16_384,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        self._client = ScorerClient(
            base_url,
            api_key=api_key,
            retry=retry,
            read_timeout_s=read_timeout_s,
            max_prompts=max_prompts,
            transport=transport,
        )
        self._loop = asyncio.new_event_loop()
        # A daemon thread, so that a program that does not close its client still exits.
        self._thread = threading.Thread(target=self._loop.run_forever, name="scorer-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> SyncScorerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections and ends the thread."""
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

    @property
    def notes(self) -> list[str]:
        """See `ScorerClient.notes`."""
        return self._client.notes

    def adapters(self) -> AdapterList:
        """See `ScorerClient.adapters`."""
        return self._wait(self._client.adapters())

    def put_adapter(
        self, name: str, folder: Path | None = None, *, server_folder: str | None = None, shared: bool = False
    ) -> AdapterInfo:
        """See `ScorerClient.put_adapter`."""
        return self._wait(self._client.put_adapter(name, folder, server_folder=server_folder, shared=shared))

    def delete_adapter(self, name: str, *, shared: bool = False) -> AdapterInfo:
        """See `ScorerClient.delete_adapter`."""
        return self._wait(self._client.delete_adapter(name, shared=shared))

    def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        """See `ScorerClient.count_tokens`."""
        return self._wait(self._client.count_tokens(texts, special_tokens=special_tokens))

    def score(self, request: ScoreRequest | None = None, /, **fields: Unpack[ScoreFields]) -> ScoreResponse:
        """See `ScorerClient.score`: a row of log-probabilities for each prompt, a column for each label."""
        return self._wait(self._client.score(request, **fields))

    def _wait(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        answer = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return answer.result()
        except BaseException:
            answer.cancel()  # Ctrl-C: the answer is no longer needed
            raise
