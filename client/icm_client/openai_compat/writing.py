"""Responses drawn by a vLLM server: from its base model with a LoRA adapter that it loads for one request of responses.

An adapter is loaded under a name of its own each time, and unloaded behind. Loaded in place under one name
(`load_inplace`), vLLM 0.32 would read its files again in every step of its engine, and might take from its prefix cache
what was computed with the adapter before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icm_client.contract.errors import IcmError, RequestError, ScorerError, UnavailableError
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.openai_compat.endpoint import OpenAIEndpoint, checked

HOW_TO_SERVE = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve MODEL --enable-lora"
WHOLE_DISTRIBUTION = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What is left out, a model's own generation_config.json would fill in."""


class Draw(NamedTuple):
    """Responses to one prompt."""

    prompt: tuple[int, ...]
    num: int
    seed: int
    """The same seed gives the same responses, as far as the server's numbers are the same."""


class Ending(NamedTuple):
    """Where responses end."""

    tokens: int
    """The most of a response."""
    stop: str
    """A response ends in the token in which this text ends; "" for none."""
    ids: tuple[int, ...]
    """A response ends in one of these tokens."""


class Written(NamedTuple):
    """A response."""

    ids: tuple[int, ...]
    """With the token that ended it."""
    logprobs: tuple[float, ...]
    """log p of each token, by the server."""


class WritingEndpoint:
    """Typed calls. Raises the errors of `icm_client.contract.errors`."""

    def __init__(self, http: EndpointHttp):
        self._http, self._url = http, http.root

    async def check(self, most_tokens: int) -> str | None:
        """vLLM's version, if it reports one. Raises RequestError for a server that loads no adapters, or whose window
        is smaller than `most_tokens`."""
        endpoint = OpenAIEndpoint(self._http)
        await self._http.content("GET", "/v1/models")  # for its error, where nothing answers
        await endpoint.refuse_icm_server()
        try:
            await self._load("", "")  # which vLLM refuses, and another server does not know
        except RequestError as error:
            if error.status in (404, 405):
                raise RequestError(
                    f"{self._url} loads no adapters: it has to be vLLM, started by {HOW_TO_SERVE}", code="no_adapters"
                ) from None
        windows = [card.window for card in await endpoint.cards() if card.window]
        if windows and max(windows) < most_tokens:
            raise RequestError(
                f"the model at {self._url} has a window of {max(windows):,} tokens, and a prompt and its response may "
                f"take {most_tokens:,}: start vLLM with a longer --max-model-len, or use fewer tokens",
                code="too_long",
            )
        return await endpoint.version()

    async def write(self, name: str, folder: Path, draws: Sequence[Draw], ending: Ending) -> list[Written]:
        """The responses to each prompt, one after the other, by the adapter in `folder`, which the server has to be
        able to read until then. `name` must be a new one.

        Raises ScorerError for an answer that is none to these prompts.
        """
        try:
            await self._load(name, str(folder.resolve()))
        except (RequestError, ScorerError) as error:
            raise RequestError(
                f"{self._url} did not load the adapter in {folder}: {error.message}. The server has to be able to read "
                f"that folder, and to be started by {HOW_TO_SERVE} --max-lora-rank RANK",
                code="bad_adapter",
            ) from None
        try:
            found = await asyncio.gather(*(self._drawn(name, draw, ending) for draw in draws))
        except UnavailableError:
            raise  # nothing is there that could unload it
        except IcmError:
            await self._unload(name)
            raise
        await self._unload(name)
        return [one for responses in found for one in responses]

    async def _load(self, name: str, folder: str) -> None:
        await self._http.content("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})

    async def _unload(self, name: str) -> None:
        with contextlib.suppress(IcmError):  # what fails here shows in the next request
            await self._http.content("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    async def _drawn(self, name: str, draw: Draw, ending: Ending) -> list[Written]:
        body: dict[str, Any] = {
            "model": name,
            "prompt": list(draw.prompt),
            "n": draw.num,
            "seed": draw.seed,
            "max_tokens": ending.tokens,
            "stop": [ending.stop] if ending.stop else [],
            "stop_token_ids": list(ending.ids),
            "skip_special_tokens": False,  # a stop text may be one
            "logprobs": 0,
            "return_token_ids": True,
            **WHOLE_DISTRIBUTION,
        }
        answer = await self._http.ask("POST", "/v1/completions", body)
        try:
            choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
            is_to_it = all(choice["prompt_token_ids"] == body["prompt"] for choice in choices)
            found = [self._written(choice, ending.tokens) for choice in choices]
        except (KeyError, TypeError, ValueError, AttributeError):
            is_to_it, found = False, []
        if not is_to_it or len(found) != draw.num:
            raise ScorerError(
                f"{self._url}/v1/completions answered something other than {draw.num} responses to the prompt, as "
                "tokens with their log-probabilities: is it vLLM, of a version such as 0.32?",
                code="bad_answer",
            )
        return found

    def _written(self, choice: Any, most: int) -> Written:
        """Raises ValueError, or what Python raises, for something else."""
        ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        if not all(type(token) is int and token >= 0 for token in ids) or not 0 < len(ids) == len(logprobs) <= most:
            raise ValueError
        what = f"a token that {self._url} wrote"
        return Written(tuple(ids), tuple(checked(value, what) for value in logprobs))
