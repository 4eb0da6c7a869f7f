"""The scorer's asynchronous client."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar, Unpack
from urllib.parse import quote

import httpx
import pydantic

from icm_client.contract.adapters import AdapterFolder, AdapterInfo, AdapterList
from icm_client.contract.batches import PromptBatches, batches, halves, subset
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
from icm_client.http.adapter_files import AdapterFiles
from icm_client.http.exchange import Exchange
from icm_client.http.fronts import Fronts, urls_of
from icm_client.http.retry import RetryPolicy, check_seconds, is_unconnected
from icm_client.http.retry_loop import RetryLoop
from icm_client.http.stream import Outstanding, Rows
from icm_client.score_fields import ScoreFields, score_request
from icm_client.text.counts import counted, seconds
from icm_client.text.validation import first_error

_Model = TypeVar("_Model", bound=pydantic.BaseModel)

MAX_REASON = 1000
"""The most characters shown of the reason why a scorer is not ready."""


class ScorerClient:
    """An asynchronous client of one scorer, for code with an event loop; see `SyncScorerClient` for other code.

        async with ScorerClient("http://localhost:8000", api_key="icm_...") as scorer:
            answer = await scorer.score(prompts=["Word: salmon\\nGroup:"], labels=[" living", " object"])

    `base_url` may name several scorers of one model, `http://a:8000,http://b:8000`: each experiment has one of them,
    and another one while that is gone; see `Fronts`. Work that any of them can do is spread with `each`.

    `api_key` is sent as `Authorization: Bearer KEY`. A request is split into bodies of at most `max_prompts` prompts;
    whatever the split, answers keep the order of the prompts. `read_timeout_s` is how long an answer may make no
    progress. `transport` replaces the network, and `clock` the time by which patience is measured, in tests.

    Errors are subclasses of IcmError. Connection errors, 429 and 503 are retried as `retry` says before they are
    raised; of an answer that was cut off, only the missing rows are requested again; a body that the scorer finds too
    large (413) is sent in smaller parts. The constructor raises RequestError for an address, a key, a number or a
    proxy setting that is not valid.
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
        clock: Callable[[], float] = time.monotonic,
    ):
        exchanges = [
            Exchange(url, api_key=api_key, read_timeout_s=read_timeout_s, transport=transport)
            for url in urls_of(base_url)
        ]
        self._fronts = Fronts(exchanges, clock)
        self._home: int | None = None
        if max_prompts < 1:
            raise RequestError(f"max_prompts is {max_prompts}: it has to be 1 or more")
        self._retries = RetryLoop(retry or RetryPolicy(), clock=clock)
        self._max_prompts = max_prompts

    @property
    def base_url(self) -> str:
        """The scorer's address, without a user and a password; those of several with commas."""
        return self._fronts.url

    @property
    def notes(self) -> list[str]:
        """What a user should know of several scorers when `wait_ready` has returned: which are not ready, and why."""
        return self._fronts.notes

    def each(self) -> list[ScorerClient]:
        """A client for each scorer, which asks that one first whatever the experiment, and others while it is gone. So
        one experiment's requests can be spread over all scorers: worth it where they share no context, or few.

        They use the connections of this client, and need not be closed.
        """
        clients = [copy.copy(self) for _ in range(len(self._fronts))]
        for number, client in enumerate(clients):
            client._home = number
        return clients

    def up(self) -> list[int]:
        """The numbers, in the order of `each`, of the scorers that have answered, or may have come back since they did
        not. The clients of the others would all ask the same other scorer."""
        return self._fronts.up()

    async def __aenter__(self) -> ScorerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._fronts.close()

    async def model(self) -> ModelInfo:
        """The model that the scorer serves, and its limits; later requests are split by these."""
        info = await self._asked(ModelInfo, "/v1/model")
        self._max_prompts = min(self._max_prompts, info.max_prompts)
        return info

    async def wait_ready(
        self,
        deadline_s: float,
        on_wait: Callable[[str, float], None] | None = None,
        *,
        unreachable_s: float | None = None,
    ) -> ModelInfo:
        """Waits until the scorer has answered a real read, for at most `deadline_s` seconds in total, or at most
        `unreachable_s` if nothing accepts a connection (None: `deadline_s`).

        `on_wait(reason, seconds_waited)` is called before each pause. Raises UnavailableError at the deadline,
        RequestError if `deadline_s` is not a number of seconds, or if another kind of server answers.
        """
        check_seconds(deadline_s, "deadline_s")
        clock, is_reached = self._retries.clock, False
        start_s = clock()

        def left_s() -> float:
            return max(deadline_s - (clock() - start_s), 1.0)

        while True:
            try:
                await self._fronts.ready(left_s())
                async with asyncio.timeout(left_s()):
                    return await self.model()
            except IcmError as error:
                is_reached = is_reached or not is_unconnected(error)
                if not _may_pass(error):
                    raise
                given = error.details.get("reason")  # a proxy or scorer may send anything
                reason = given if isinstance(given, str) and given.isprintable() else error.message
                reason = reason[:MAX_REASON]
            except TimeoutError:
                reason = "it accepts connections, but does not answer"
            waited_s = clock() - start_s
            limit_s = deadline_s if is_reached or unreachable_s is None else min(unreachable_s, deadline_s)
            if waited_s >= limit_s:
                raise UnavailableError(
                    f"no scorer was ready at {self.base_url} within {seconds(limit_s)} ({reason}). "
                    "Start one with `icm-server serve`, or check the address.",
                    code="not_ready",
                )
            if on_wait:
                on_wait(reason, waited_s)
            await asyncio.sleep(min(0.5, limit_s - waited_s))

    async def score(self, request: ScoreRequest | None = None, /, **fields: Unpack[ScoreFields]) -> ScoreResponse:
        """Log-probabilities (natural logs) of every label after every prompt.

            answer = await scorer.score(prompts=["Word: salmon\\nGroup:"], labels=[" living", " object"])
            answer.logprobs[0]  # [log p(" living"), log p(" object")] after the first prompt

        Takes the fields of a ScoreRequest by name, or a ScoreRequest. `logprobs` has a row for each prompt, in order,
        and a column for each label; the values are not normalised over the labels. `usage` does not count what was
        computed for answers that were cut off.

        Raises RequestError for what the scorer will never accept, AccessError for a key that is missing or not
        allowed to do this, UnavailableError or BusyError when patience ends, DeadlineError after `deadline_s`, and
        ScorerError if the scorer fails or its answer does not fit the request.
        """
        whole = score_request(request, fields)
        logprobs: list[list[float]] = [[]] * len(whole.prompts)
        usage, model = Usage(), None
        async with aclosing(self._lines(whole)) as lines:
            async for line in lines:
                if isinstance(line, StreamStart):
                    model = line.model
                elif isinstance(line, StreamEnd):
                    usage += line.usage
                else:
                    for number, row in zip(line.prompts, line.logprobs, strict=True):
                        logprobs[number] = row
        assert model is not None  # every stream begins with a start line
        return ScoreResponse(logprobs=logprobs, usage=usage, model=model)

    async def stream(
        self, request: ScoreRequest | None = None, /, **fields: Unpack[ScoreFields]
    ) -> AsyncGenerator[Rows]:
        """The rows of `score` as they are computed: in any order, each prompt's exactly once.

        Takes and raises what `score` does. To stop early, close it:
        `async with contextlib.aclosing(scorer.stream(request)) as batches: ...`.
        """
        async with aclosing(self._lines(score_request(request, fields))) as lines:
            async for line in lines:
                if isinstance(line, Rows):
                    yield line

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        """The number of tokens of each text by itself, in order; `special_tokens` as in a ScoreRequest.

        Raises RequestError for a text that is longer than any prompt may be, and what `score` raises.
        """
        counts: list[int] = []
        left = deque[Sequence[str]](batches(texts, MAX_REQUEST_CHARS, MAX_TEXTS))
        while left:
            some = left.popleft()
            try:
                part = TokensRequest(texts=list(some), special_tokens=special_tokens)
            except pydantic.ValidationError as error:
                raise RequestError(first_error(error, whole="the texts")) from None
            try:
                answer = await self._asked(TokensResponse, "/v1/tokens", part)
            except RequestError as error:
                if error.status != TooLargeError.status or len(some) == 1:
                    raise
                left.extendleft(reversed(halves(some)))
                continue
            if len(answer.counts) != len(part.texts):
                raise ScorerError(
                    f"the scorer did not answer with the token counts of {counted(len(part.texts), 'text')}"
                )
            counts += answer.counts
        return counts

    async def adapters(self) -> AdapterList:
        """The adapters that the key may use: a request names one as its `model`. Raises what `model` does."""
        return await self._asked(AdapterList, "/v1/adapters")

    async def put_adapter(
        self, name: str, folder: Path | None = None, *, server_folder: str | None = None, shared: bool = False
    ) -> AdapterInfo:
        """Has the scorer, or each of several, serve a LoRA adapter under this name, for this key alone, in place of one
        that it may have.

            info = await scorer.put_adapter("topics", Path("runs/topics/adapter"))
            answer = await scorer.score(prompts=[...], labels=[...], model="topics")

        Either sends `folder`, as peft writes it, or names a folder below the scorer's `--adapter-dir`. `shared`: for
        all keys, by an admin key. Requests that run end with the adapter that had the name; parts of a request that
        is split fail (`model_changed`).

        Raises RequestError for a folder or an adapter that cannot be used, saying why, and where the scorer has no
        room for it; and what `model` raises.
        """
        if (folder is None) == (server_folder is None):
            raise RequestError("put_adapter takes either folder or server_folder")
        path = _adapter_path(name, shared)
        if folder is not None:
            files = AdapterFiles.of(folder)
            return await self._changed(lambda exchange: exchange.upload(AdapterInfo, path, files))
        try:
            named = AdapterFolder(folder=server_folder or "")
        except pydantic.ValidationError as error:
            raise RequestError(first_error(error)) from None
        return await self._changed(lambda exchange: exchange.ask(AdapterInfo, path, named, method="PUT"))

    async def delete_adapter(self, name: str, *, shared: bool = False) -> AdapterInfo:
        """Takes an adapter of this key off the scorer; requests that run end with it. `shared` as in `put_adapter`.

        Raises RequestError (404, `unknown_adapter`) if there is none, of several scorers on none, and what `model`
        raises.
        """
        path = _adapter_path(name, shared)
        return await self._changed(
            lambda exchange: exchange.ask(AdapterInfo, path, method="DELETE"), absent="unknown_adapter"
        )

    async def _asked(self, answer: type[_Model], path: str, body: pydantic.BaseModel | None = None) -> _Model:
        """A small answer of one scorer."""
        route = self._fronts.route(home=self._home)
        return await self._retries.call(lambda: route.ask(answer, path, body))

    async def _changed(
        self, change: Callable[[Exchange], Awaitable[AdapterInfo]], *, absent: str | None = None
    ) -> AdapterInfo:
        """A change of all scorers; see `Change`."""
        everywhere = self._fronts.change(absent=absent)
        return await self._retries.call(lambda: everywhere.make(AdapterInfo, change))

    async def _lines(self, request: ScoreRequest) -> AsyncGenerator[StreamStart | Rows | StreamEnd]:
        """All lines of all parts, with rows numbered as in `request`; each part is repeated until it is complete."""
        clock = self._retries.clock
        digest, start_s = None, clock()
        deadline_s = None if request.deadline_s is None else start_s + request.deadline_s
        parts = PromptBatches(len(request.prompts), self._max_prompts)
        while part := parts.take():
            outstanding, tries = Outstanding(request, part), self._retries.begin()
            route = self._fronts.route(request.experiment, self._home)
            while numbers := outstanding.numbers():
                try:
                    left = _within_deadline(subset(request, numbers), clock() - start_s)
                    async with aclosing(route.lines(left)) as lines:
                        async for line in lines:
                            if isinstance(line, StreamRows):
                                rows = outstanding.take(line, numbers)
                                if rows.prompts:
                                    tries.progressed()
                                    route.progressed()
                                yield rows
                                continue
                            if isinstance(line, StreamStart):
                                _check_start(line, len(numbers), digest)
                                digest = line.model.digest
                                self._retries.reached()
                            yield line
                    if missing := outstanding.numbers():
                        raise ScorerError(f"the scorer's answer ended without {len(missing)} of its prompts")
                except IcmError as error:
                    missing = outstanding.numbers()
                    if error.status == TooLargeError.status and len(missing) > 1:
                        parts.too_large(missing)
                        break
                    if missing or not isinstance(error, UnavailableError):
                        await self._retries.pause(tries, route.named(error), start_s, deadline_s)
            else:
                parts.accepted()


def _adapter_path(name: str, shared: bool) -> str:
    return f"/v1/adapters/{quote(name, safe='')}" + ("?shared=true" if shared else "")


def _may_pass(error: IcmError) -> bool:
    """Whether to keep waiting: while the scorer is unavailable, a proxy in front of it may answer anything."""
    return isinstance(error, UnavailableError | BusyError) or error.code.startswith("http_")


def _check_start(line: StreamStart, num_prompts: int, digest: str | None) -> None:
    if line.num_prompts != num_prompts:
        raise ScorerError(f"the scorer answered {counted(line.num_prompts, 'prompt')} instead of {num_prompts}")
    if digest not in (None, line.model.digest):
        raise ScorerError("the scorer changed its model between two parts of one request", code="model_changed")


def _within_deadline(request: ScoreRequest, spent_s: float) -> ScoreRequest:
    """The request with the remaining part of its deadline."""
    if request.deadline_s is None or not spent_s:
        return request
    if spent_s >= request.deadline_s:
        raise DeadlineError(f"no answer within the deadline of {request.deadline_s:g} s")
    return request.model_copy(update={"deadline_s": request.deadline_s - spent_s})
