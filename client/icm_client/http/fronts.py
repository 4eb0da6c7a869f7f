"""HTTP with several scorers of one model: each experiment has one of them, and the next one while that is gone."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TypeVar

import pydantic

from icm_client.contract.errors import RequestError, ScorerError, UnavailableError
from icm_client.contract.wire import ModelInfo, ScoreRequest
from icm_client.http.adapter_files import AdapterFiles
from icm_client.http.exchange import Exchange
from icm_client.http.retry import is_unconnected
from icm_client.http.stream import StreamedLine

FIRST_REST_S, MAX_REST_S = 5.0, 300.0
"""How long a scorer that is gone is left alone: twice as long each time, until it answers."""

_Model = TypeVar("_Model", bound=pydantic.BaseModel)


def urls_of(addresses: str) -> list[str]:
    """The URLs of `URL,URL,...`, of which each begins with its scheme."""
    return re.split(r",(?=https?://)", addresses, flags=re.IGNORECASE)


class Front:
    """One of the scorers, and what is known of it."""

    def __init__(self, exchange: Exchange):
        self.exchange = exchange
        self.model: ModelInfo | None = None
        """Its model, since it was last gone."""
        self.rest_s, self.rests_until_s, self.failed_at_s = 0.0, 0.0, 0.0

    def weight(self, experiment: str) -> bytes:
        """The experiment goes to the scorer with the highest one (rendezvous hashing)."""
        return hashlib.blake2b(f"{self.exchange.url}\0{experiment}".encode(), digest_size=8).digest()


class Fronts:
    """Has the methods of Exchange, without retries of its own: after an UnavailableError, the next attempt goes to
    another scorer. Raises ScorerError (`other_model`) if two scorers serve different models.

    Adapters are put on all scorers, one after another, and taken off all; where one is gone, that raises its error.
    """

    def __init__(self, exchanges: Sequence[Exchange], clock: Callable[[], float] = time.monotonic):
        """Raises RequestError if an address is there twice."""
        urls = [exchange.url for exchange in exchanges]
        if len(set(urls)) < len(urls):
            raise RequestError(f"a scorer is named twice in {','.join(urls)}: name each once")
        self.url = ",".join(urls)
        self._fronts, self._clock = [Front(exchange) for exchange in exchanges], clock

    async def close(self) -> None:
        await asyncio.gather(*(front.exchange.close() for front in self._fronts))

    async def ready(self) -> None:
        """Raises UnavailableError until one scorer is ready. Compares the models of those that are."""
        outcomes = await asyncio.gather(*map(self._ready, self._fronts), return_exceptions=True)
        gone = []
        for outcome in outcomes:
            if isinstance(outcome, UnavailableError):
                gone.append(outcome)
            elif outcome is not None:
                raise outcome
        if len(gone) == len(
            self._fronts
        ):  # one that is loading is worth a longer wait than an address without a scorer
            raise next((error for error in gone if not is_unconnected(error)), gone[0])

    async def is_openai(self) -> bool:
        return any([await front.exchange.is_openai() for front in self._fronts])

    async def ask(
        self, answer: type[_Model], path: str, body: pydantic.BaseModel | None = None, *, method: str | None = None
    ) -> _Model:
        """As Exchange.ask, of one scorer; of all if it changes something."""
        if method is None:
            front = self._choose("")
            with self._watched(front):
                await self._check(front)
                return await front.exchange.ask(answer, path, body)
        answers = [await front.exchange.ask(answer, path, body, method=method) for front in self._fronts]
        return answers[0]

    async def upload(self, answer: type[_Model], path: str, files: AdapterFiles) -> _Model:
        """As Exchange.upload, to all."""
        answers = [await front.exchange.upload(answer, path, files) for front in self._fronts]
        return answers[0]

    async def lines(self, request: ScoreRequest) -> AsyncGenerator[StreamedLine]:
        """As Exchange.lines, of the scorer that the experiment has now."""
        front = self._choose(request.experiment)
        with self._watched(front):
            await self._check(front)
            async with aclosing(front.exchange.lines(request)) as lines:
                async for line in lines:
                    yield line

    def _choose(self, experiment: str) -> Front:
        """The experiment's first choice that is not gone; if all are, each in turn."""
        now_s = self._clock()
        up = [front for front in self._fronts if front.rests_until_s <= now_s]
        if not up:
            return min(self._fronts, key=lambda front: front.failed_at_s)
        return max(up, key=lambda front: front.weight(experiment))

    @contextmanager
    def _watched(self, front: Front) -> Iterator[None]:
        """Leaves the scorer alone for a while if it is gone; another one is asked without the wait that it names."""
        try:
            yield
        except UnavailableError as error:
            now_s = front.failed_at_s = self._clock()
            if front.rests_until_s <= now_s:  # of the requests that it had, the first counts
                front.rest_s = min(2 * front.rest_s or FIRST_REST_S, MAX_REST_S)
                front.rests_until_s = now_s + front.rest_s
            front.model = None  # it may come back with another
            if any(other.rests_until_s <= now_s for other in self._fronts):
                error.retry_after_s = None
            raise

    async def _ready(self, front: Front) -> None:
        with self._watched(front):
            await front.exchange.ready()
            await self._check(front)

    async def _check(self, front: Front) -> None:
        """Raises ScorerError for a scorer whose model is not the others'."""
        if front.model is not None:
            return
        model = await front.exchange.ask(ModelInfo, "/v1/model")
        for other in self._fronts:
            if other.model is not None and _identity(other.model) != _identity(model):
                raise ScorerError(
                    f"{_described(other.exchange.url, other.model)}, but {_described(front.exchange.url, model)}: "
                    "scorers that are used together have to serve the same model with the same window",
                    code="other_model",
                )
        front.model, front.rest_s, front.rests_until_s = model, 0.0, 0.0


def _identity(model: ModelInfo) -> tuple[str, int]:
    return model.digest, model.max_prompt_tokens


def _described(url: str, model: ModelInfo) -> str:
    return f"{url} serves {model.name} (digest {model.digest[:12]}, {model.max_prompt_tokens} tokens)"
