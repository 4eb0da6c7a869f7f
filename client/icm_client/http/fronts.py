"""HTTP with one scorer, or several of one model: each experiment has one, and the next one while that is gone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence

from icm_client.contract.errors import BusyError, IcmError, RequestError, ScorerError, UnavailableError
from icm_client.contract.wire import ModelInfo
from icm_client.http.exchange import Exchange
from icm_client.http.front import SHORT_ANSWER_S, Front
from icm_client.http.route import Change, Route, none_answers


def urls_of(addresses: str) -> list[str]:
    """The URLs of `URL,URL,...`, of which each begins with its scheme; spaces may stand beside the commas."""
    return re.split(r"\s*,\s*(?=https?://)", addresses, flags=re.IGNORECASE)


class Fronts:
    """The scorers of one client.

    Several have to serve one model: that of the first that was seen counts, as long as the client lives. Each is
    compared before it is used, and again when it was gone; another model is a ScorerError (`other_model`).
    """

    def __init__(self, exchanges: Sequence[Exchange], clock: Callable[[], float] = time.monotonic):
        """Raises RequestError if an address is there twice."""
        urls = [exchange.url for exchange in exchanges]
        if len(set(urls)) < len(urls):
            raise RequestError(f"a scorer is named twice in {','.join(urls)}: name each once")
        self.url = ",".join(urls)
        self.notes: list[str] = []
        """One for each scorer that was not ready when another one was."""
        self._fronts = [Front(exchange, clock, is_alone=len(urls) == 1) for exchange in exchanges]
        self._seen: Front | None = None
        self._model: ModelInfo | None = None
        """Of the first scorer that was seen."""

    async def close(self) -> None:
        await asyncio.gather(*(front.exchange.close() for front in self._fronts))

    async def ready(self, limit_s: float) -> None:
        """Raises UnavailableError until one scorer is ready; each may take `limit_s` seconds to say so, of several at
        most SHORT_ANSWER_S. Compares the models of those that are ready."""
        outcomes = await asyncio.gather(
            *(self._ready(front, limit_s) for front in self._fronts), return_exceptions=True
        )
        gone: dict[Front, UnavailableError | BusyError] = {}
        for front, outcome in zip(self._fronts, outcomes, strict=True):
            if isinstance(outcome, UnavailableError | BusyError):
                gone[front] = outcome
            elif outcome is not None:
                raise outcome
        if len(gone) == len(self._fronts):
            raise self._none_ready(gone)
        for front, error in gone.items():
            if isinstance(error, UnavailableError):
                front.rest_anew()  # they may have been started together, and this one may soon be ready, too
        self.notes = [
            f"{front.url} is not used until it is ready: {error.message.removeprefix(f'{front.url}: ')}"
            for front, error in gone.items()
        ]

    def __len__(self) -> int:
        return len(self._fronts)

    def up(self) -> list[int]:
        """The numbers of the scorers that are not left alone now."""
        return [number for number, front in enumerate(self._fronts) if front.is_up]

    def route(self, experiment: str = "", home: int | None = None) -> Route:
        """The way of one request; `home` is the number of the scorer to ask first, in place of the experiment's."""
        return Route(self._fronts, self._check, experiment, None if home is None else self._fronts[home])

    def change(self, *, absent: str | None = None) -> Change:
        """A change on all scorers."""
        return Change(self._fronts, absent=absent)

    async def _ready(self, front: Front, limit_s: float) -> None:
        limit_s = limit_s if front.is_alone else min(limit_s, SHORT_ANSWER_S)
        with front.watched():
            async with front.within(limit_s):
                await front.ready()
            await self._check(front)
        front.works()

    @staticmethod
    def _none_ready(gone: dict[Front, UnavailableError | BusyError]) -> IcmError:
        """One that is loading is worth a longer wait than an address without a scorer."""
        errors = list(gone.values())
        if len(errors) == 1:
            return errors[0]
        away = {front: error for front, error in gone.items() if isinstance(error, UnavailableError)}
        return none_answers(away) if len(away) == len(gone) else next(e for e in errors if isinstance(e, BusyError))

    async def _check(self, front: Front) -> None:
        """Raises ScorerError for a scorer whose model is not that of the first."""
        if front.is_alone or front.model is not None:
            return
        async with front.within(SHORT_ANSWER_S):
            model = await front.exchange.ask(ModelInfo, "/v1/model")
        if self._seen is None or self._model is None:
            self._seen, self._model = front, model
        elif _identity(model) != _identity(self._model):
            first = _described(self._seen.url, "served" if self._seen is front else "serves", self._model)
            raise ScorerError(
                f"{first}, but {_described(front.url, 'now serves' if self._seen is front else 'serves', model)}: "
                "scorers that are used together have to serve the same model with the same window",
                code="other_model",
            )
        front.model = model


def _identity(model: ModelInfo) -> tuple[str, str, int, int]:
    return model.digest, model.dtype, model.max_prompt_tokens, model.cache_block_tokens


def _described(url: str, serves: str, model: ModelInfo) -> str:
    window = f"{model.max_prompt_tokens} tokens in blocks of {model.cache_block_tokens}"
    return f"{url} {serves} {model.name} (digest {model.digest[:12]}, {model.dtype}, {window})"
