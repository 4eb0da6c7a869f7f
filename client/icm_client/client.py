"""The scorer's client."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import httpx
import numpy as np
import pydantic

from icm_client.contract.batches import batches, halves, split, subset
from icm_client.contract.errors import (
    BusyError,
    DeadlineError,
    IcmError,
    RequestError,
    ScorerError,
    TooLargeError,
    UnavailableError,
)
from icm_client.contract.wire import (
    MAX_REQUEST_CHARS,
    MAX_TEXTS,
    ModelInfo,
    ScoreRequest,
    ScoreResponse,
    StreamEnd,
    StreamRows,
    StreamStart,
    TokensRequest,
    TokensResponse,
    Usage,
)
from icm_client.http.exchange import Exchange
from icm_client.http.retry import RetryPolicy, Tries, check_seconds
from icm_client.http.stream import Outstanding, Rows

MAX_REASON = 1000
"""How many characters are told of why a scorer is not ready."""

_Model = TypeVar("_Model", bound=pydantic.BaseModel)


class ScorerClient:
    """Scores batches against one scorer. Use it as an async context manager.

    Answers keep the order of the prompts however the batch was split. Errors are those of `icm_client.contract.errors`;
    connection errors, 429 and 503 are retried by `retry` before they reach the caller, of an answer that was cut off
    only what is missing is asked again, and what a scorer finds too large (413) is asked in smaller parts.
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
        self._exchange = Exchange(base_url, api_key=api_key, read_timeout_s=read_timeout_s, transport=transport)
        if max_prompts < 1:
            raise RequestError(f"max_prompts is {max_prompts}: a request has at least one")
        self._retry = retry or RetryPolicy()
        self._max_prompts = max_prompts
        self._jitter = np.random.default_rng()  # spreads retries of many clients; touches no result

    @property
    def base_url(self) -> str:
        """The scorer's address, without a user and a password."""
        return self._exchange.url

    async def __aenter__(self) -> ScorerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._exchange.close()

    async def model(self) -> ModelInfo:
        """Which model answers, and its limits, which requests are cut by from then on."""
        info = await self._retried(lambda: self._exchange.ask(ModelInfo, "/v1/model"))
        self._max_prompts = min(self._max_prompts, info.max_prompts)
        return info

    async def wait_ready(self, deadline_s: float, on_wait: Callable[[str, float], None] | None = None) -> ModelInfo:
        """Waits until the scorer has answered a real read, at most `deadline_s` seconds in all.

        `on_wait(reason, seconds_waited)` is called before each pause. Raises UnavailableError at the deadline,
        RequestError for one that is no number of seconds.
        """
        check_seconds(deadline_s, "deadline_s")
        start = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(max(deadline_s - (time.monotonic() - start), 1.0)):
                    await self._exchange.ready()
                    return await self.model()
            except IcmError as error:
                if not _may_pass(error):
                    raise
                told = error.details.get("reason")  # what a proxy or scorer answered may be anything
                reason = told if isinstance(told, str) and told.isprintable() else error.message
                reason = reason[:MAX_REASON]
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

        `usage` leaves out what was computed for answers that were cut off. Raises RequestError for what the scorer
        will never accept, UnavailableError or BusyError when patience ends, ScorerError for an answer that does not
        fit the request.
        """
        logprobs: list[list[float]] = [[]] * len(request.prompts)
        usage, model = Usage(), None
        async with aclosing(self._answer(request)) as answer:
            async for line in answer:
                if isinstance(line, StreamStart):
                    model = line.model
                elif isinstance(line, StreamEnd):
                    usage += line.usage
                else:
                    for number, row in zip(line.prompts, line.logprobs, strict=True):
                        logprobs[number] = row
        assert model is not None  # rows came, and a start comes before them
        return ScoreResponse(logprobs=logprobs, usage=usage, model=model)

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        """How many tokens each text has by itself, in the order given; `special_tokens` as in a ScoreRequest."""
        counts: list[int] = []
        left = deque[Sequence[str]](batches(texts, MAX_REQUEST_CHARS, MAX_TEXTS))
        while left:
            some = left.popleft()
            try:
                part = TokensRequest(texts=list(some), special_tokens=special_tokens)
            except pydantic.ValidationError as error:
                raise RequestError(f"a text to count the tokens of: {error.errors()[0]['msg']}") from None
            try:
                answer = await self._retried(functools.partial(self._exchange.ask, TokensResponse, "/v1/tokens", part))
            except RequestError as error:
                if error.status != TooLargeError.status or len(some) == 1:
                    raise
                left.extendleft(reversed(halves(some)))
                continue
            if len(answer.counts) != len(part.texts):
                raise ScorerError(f"the scorer's answer does not count the tokens of {len(part.texts)} texts")
            counts += answer.counts
        return counts

    async def stream(self, request: ScoreRequest) -> AsyncGenerator[Rows]:
        """The same rows as soon as they come, in any order, each prompt's exactly once. Raises what `score` raises.

        To stop early, close it: `async with contextlib.aclosing(client.stream(request)) as rows: ...`.
        """
        async with aclosing(self._answer(request)) as answer:
            async for line in answer:
                if isinstance(line, Rows):
                    yield line

    async def _retried(self, ask: Callable[[], Awaitable[_Model]]) -> _Model:
        tries = Tries(self._retry, time.monotonic())
        while True:
            try:
                return await ask()
            except IcmError as error:
                await self._wait(tries, error)

    async def _answer(self, request: ScoreRequest) -> AsyncGenerator[StreamStart | Rows | StreamEnd]:
        """All lines of all parts, rows numbered as in `request`; every part is asked until it is whole.

        A part that is more than the scorer takes at once is asked in halves, and so is what comes after it.
        """
        digest, start = None, time.monotonic()
        most, parts = self._max_prompts, deque[Sequence[int]](split(request, self._max_prompts))
        while parts:
            part = parts.popleft()
            if len(part) > most:
                parts.extendleft(reversed(halves(part)))
                continue
            outstanding = Outstanding(request, part)
            tries = Tries(self._retry, time.monotonic())
            while asked := outstanding.numbers():
                try:
                    left = _within_deadline(subset(request, asked), time.monotonic() - start)
                    async with aclosing(self._exchange.lines(left)) as lines:
                        async for line in lines:
                            if isinstance(line, StreamRows):
                                rows = outstanding.take(line, asked)
                                if rows.prompts:
                                    tries.progressed(time.monotonic())
                                yield rows
                                continue
                            if isinstance(line, StreamStart):
                                _check_start(line, len(asked), digest)
                                digest = line.model.digest
                            yield line
                    if missing := outstanding.numbers():
                        raise ScorerError(f"the scorer's answer ended without {len(missing)} of its prompts")
                except IcmError as error:
                    missing = outstanding.numbers()
                    if error.status == TooLargeError.status and len(missing) > 1:
                        most = -(-len(missing) // 2)
                        parts.appendleft(missing)
                        break
                    if missing or not isinstance(error, UnavailableError):
                        deadline_s = None if request.deadline_s is None else start + request.deadline_s
                        await self._wait(tries, error, deadline_s)

    async def _wait(self, tries: Tries, error: IcmError, deadline_s: float | None = None) -> None:
        """Until it is time to try again, or the clock shows the deadline; raises the error if it is not to be tried."""
        now_s = time.monotonic()
        wait_s = tries.failed(error, now_s, self._jitter)
        if wait_s is None:
            raise error
        await asyncio.sleep(wait_s if deadline_s is None else min(wait_s, deadline_s - now_s))


def _may_pass(error: IcmError) -> bool:
    """Whether it is worth waiting: a proxy in front answers what it likes while the scorer is not there."""
    return isinstance(error, UnavailableError | BusyError) or error.code.startswith("http_")


def _check_start(line: StreamStart, num_asked: int, digest: str | None) -> None:
    if line.num_prompts != num_asked:
        raise ScorerError(f"asked for {num_asked} prompts, the scorer answered {line.num_prompts}")
    if digest not in (None, line.model.digest):
        raise ScorerError("the scorer changed its model between two parts of one request", code="model_changed")


def _within_deadline(request: ScoreRequest, spent_s: float) -> ScoreRequest:
    """The request with what is left of its deadline."""
    if request.deadline_s is None or not spent_s:
        return request
    if spent_s >= request.deadline_s:
        raise DeadlineError(f"the answer was not there within {request.deadline_s:g} s")
    return request.model_copy(update={"deadline_s": request.deadline_s - spent_s})
