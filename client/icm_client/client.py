"""The scorer's client: asynchronous, with a synchronous face for notebooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import httpx
import numpy as np
import pydantic
from anyio.from_thread import start_blocking_portal

from icm_client.errors import IcmError, RequestError, ScorerError, UnavailableError, error_from_body
from icm_client.retry import RetryPolicy
from icm_client.split import split
from icm_client.wire import (
    MAX_TEXTS,
    ModelInfo,
    ScoreRequest,
    ScoreResponse,
    TokensRequest,
    TokensResponse,
    Usage,
    is_logprob,
)

_Answer = TypeVar("_Answer", bound=pydantic.BaseModel)


class ScorerClient:
    """Scores batches against one scorer. Use it as an async context manager.

    Answers keep the order of the prompts however the batch was split. Errors are those of `icm_client.errors`;
    connection errors, 429 and 503 are retried by `retry` before they reach the caller.
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
        self.base_url = base_url.rstrip("/")
        self._retry = retry or RetryPolicy()
        self._max_prompts = max_prompts
        self._jitter = np.random.default_rng()  # spreads retries of many clients; touches no result
        try:
            if not httpx.URL(self.base_url).host:
                raise ValueError("it names no host; write http://HOST:PORT")
            self._http = httpx.AsyncClient(
                base_url=self.base_url,
                headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
                timeout=httpx.Timeout(10.0, read=read_timeout_s, write=300.0),
                transport=transport,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise RequestError(f"{base_url!r} is not a URL of a scorer: {error}") from None

    async def __aenter__(self) -> ScorerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def model(self) -> ModelInfo:
        """Which model answers, and its limits."""
        return await self._ask("GET", "/v1/model", None, ModelInfo)

    async def wait_ready(self, deadline_s: float, on_wait: Callable[[str, float], None] | None = None) -> ModelInfo:
        """Waits until the scorer has answered a real read, at most `deadline_s` seconds in all.

        `on_wait(reason, seconds_waited)` is called before each pause. Raises UnavailableError at the deadline.
        """
        start = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(max(deadline_s - (time.monotonic() - start), 1.0)):
                    response = await self._send("GET", "/readyz", None)
                if response.status_code == 200:
                    return await self.model()
                reason = str(_error(response))
            except UnavailableError as error:
                reason = error.details.get("reason", error.message)
            except TimeoutError:
                reason = "it takes connections, but does not answer"
            waited_s = time.monotonic() - start
            if waited_s >= deadline_s:
                raise UnavailableError(
                    f"no scorer was ready at {self.base_url} within {deadline_s:.0f} s ({reason}). "
                    "Start one with `icm-server serve`, or check the address.",
                    code="not_ready",
                )
            if on_wait:
                on_wait(reason, waited_s)
            await asyncio.sleep(min(0.5, deadline_s - waited_s))

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Log-probabilities of every label after every prompt, in the order asked; see `wire.ScoreResponse`.

        Raises RequestError for what the scorer will never accept, UnavailableError or BusyError when patience
        ends, ScorerError for an answer that does not fit the request.
        """
        answers: list[ScoreResponse] = []
        for part in split(request, self._max_prompts):
            answer = await self._ask("POST", "/v1/score", part, ScoreResponse)
            _check(part, answer)
            if answers and answer.model.digest != answers[0].model.digest:
                raise ScorerError("the scorer changed its model between two parts of one request")
            answers.append(answer)
        if len(answers) == 1:
            return answers[0]
        return ScoreResponse(
            logprobs=[row for answer in answers for row in answer.logprobs],
            usage=sum((answer.usage for answer in answers), Usage()),
            model=answers[0].model,
        )

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has by itself, in the order given."""
        counts: list[int] = []
        for start in range(0, len(texts), MAX_TEXTS):
            part = TokensRequest(texts=list(texts[start : start + MAX_TEXTS]))
            answer = await self._ask("POST", "/v1/tokens", part, TokensResponse)
            if len(answer.counts) != len(part.texts) or min(answer.counts, default=0) < 0:
                raise ScorerError(f"the scorer's answer does not count the tokens of {len(part.texts)} texts")
            counts += answer.counts
        return counts

    async def _ask(
        self, method: str, path: str, body: pydantic.BaseModel | None, answer_type: type[_Answer]
    ) -> _Answer:
        content = None if body is None else body.model_dump_json().encode()
        start, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                response = await self._send(method, path, content)
                if response.status_code != 200:
                    raise _error(response)
                return answer_type.model_validate_json(response.content)
            except pydantic.ValidationError as error:
                raise ScorerError(
                    f"{self.base_url}{path} answered something that is not of this protocol "
                    f"({error.error_count()} fields differ): is it an icm-server of this version?",
                    code="bad_answer",
                ) from None
            except IcmError as error:
                wait_s = self._retry.wait_s(error, attempt, time.monotonic() - start, self._jitter)
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)

    async def _send(self, method: str, path: str, content: bytes | None) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if content is not None else None
        try:
            return await self._http.request(method, path, content=content, headers=headers)
        except httpx.UnsupportedProtocol as error:
            raise RequestError(f"{self.base_url!r} is not a URL of a scorer: {error}") from None
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(
                f"cannot reach the scorer at {self.base_url} ({reason}). "
                "Start one with `icm-server serve`, or check the address.",
                details={"reason": reason},
            ) from error


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


def _error(response: httpx.Response) -> IcmError:
    try:
        body = response.json()
    except ValueError:
        body = None
    try:
        retry_after_s = float(response.headers.get("Retry-After", ""))
    except ValueError:
        retry_after_s = None
    return error_from_body(response.status_code, body, retry_after_s)


def _check(request: ScoreRequest, answer: ScoreResponse) -> None:
    """An answer of the wrong shape or with impossible values must never become a label."""
    if len(answer.logprobs) != len(request.prompts):
        raise ScorerError(f"asked for {len(request.prompts)} prompts, the scorer answered {len(answer.logprobs)}")
    for number, row in enumerate(answer.logprobs):
        if len(row) != len(request.labels) or not all(map(is_logprob, row)):
            raise ScorerError(f"the scorer's answer to prompt {number} is not {len(request.labels)} log-probabilities")
