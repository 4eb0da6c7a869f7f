"""An OpenAI-compatible endpoint on top of the fake engine: as stock vLLM has it, as hosted ones have it, and spoilt."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from icm_server.engines.fake import FakeEngine

WORDS = ["red", "blue", "Colour:", "Next:", "Monday", "living", "object", "hot", "cool", "a", "the", "of"]
"""What the likeliest tokens are looked for among, besides the words of the prompt."""

Top = dict[str, Any]
Spoil = Callable[[int, Top, dict[str, Any]], Any]
"""Of a choice's place in the request, its log-probabilities by token, and the request's body: others."""


class FakeEndpoint:
    """`app` answers /v1/models, /v1/completions, and, with `takes_ids`, /tokenize, /version and /metrics too.

    Without `takes_ids` prompts are texts, and the `max_top` likeliest tokens are returned.
    """

    def __init__(
        self,
        engine: FakeEngine | None = None,
        *,
        takes_ids: bool = True,
        max_top: int = 20,
        takes_lists: bool = True,
        counts_cached: bool = False,
        counts_tokens: bool = True,
        chat_shape: bool = False,
        max_prompt_tokens: int | None = None,
        key: str | None = None,
        spoil: Spoil | None = None,
    ):
        self.engine = engine or FakeEngine()
        self.takes_ids, self.max_top, self.takes_lists, self.chat_shape = takes_ids, max_top, takes_lists, chat_shape
        self.counts_cached, self.counts_tokens = counts_cached, counts_tokens
        self.max_prompt_tokens, self.key, self.spoil = max_prompt_tokens, key, spoil
        self.models: list[dict[str, Any]] = [{"id": "fake", "root": "/fake", "owned_by": "vllm", "max_model_len": 8192}]
        self.version = "0.32.0"
        self.fingerprint: str | None = "vllm-0.32.0-1234abcd"
        self.faults: list[tuple[int, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.num_tokenized = self.num_now = self.num_most = 0
        self.url = ""
        self.app = FastAPI()
        self.app.get("/v1/models")(self.list_models)
        self.app.post("/v1/completions")(self.completions)
        if takes_ids:
            self.app.post("/tokenize")(self.tokenize)
            self.app.get("/version")(self.tell_version)
            self.app.get("/metrics")(self.metrics)

    async def list_models(self, request: Request) -> JSONResponse:
        return self._refused(request) or JSONResponse({"object": "list", "data": self.models})

    async def tell_version(self) -> dict[str, str]:
        return {"version": self.version}

    async def metrics(self) -> Response:
        return Response('# HELP vllm:cache_config_info x\nvllm:cache_config_info{block_size="16",engine="0"} 1.0\n')

    async def tokenize(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.num_tokenized += 1
        ids = self._ids(body["prompt"], special=body["add_special_tokens"])
        return JSONResponse({"count": len(ids), "max_model_len": 8192, "tokens": ids})

    async def completions(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused:
            return refused
        self.num_now += 1
        self.num_most = max(self.num_most, self.num_now)
        try:
            return await self._completed(await request.json())
        finally:
            self.num_now -= 1

    async def _completed(self, body: dict[str, Any]) -> Response:
        self.asked.append(body)
        if self.faults:
            status, answer = self.faults.pop(0)
            return JSONResponse(answer, status)
        if body["model"] not in {model["id"] for model in self.models}:
            return _error(404, f"The model `{body['model']}` does not exist.")
        prompt = body["prompt"]
        prompts = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
        if len(prompts) > 1 and not self.takes_lists:
            return _error(400, "prompt must be a string")
        if not self.takes_ids and (body["logprobs"] > self.max_top or not isinstance(prompts[0], str)):
            return _error(422, f"logprobs must be\nat most {self.max_top}")
        tokens = [self._ids(each, special=True) if isinstance(each, str) else each for each in prompts]
        tokens = [ids[-(self.max_prompt_tokens or len(ids)) :] for ids in tokens]
        cached = 0
        choices = []
        for place, (each, ids) in enumerate(zip(prompts, tokens, strict=True)):
            top, cached = await self._top(each, ids, body)
            top = self.spoil(place, top, body) if self.spoil else top
            choices.append({"index": place, "text": "", "logprobs": self._shaped(top), "finish_reason": "length"})
        usage: dict[str, Any] = {"prompt_tokens": sum(map(len, tokens)), "completion_tokens": len(prompts)}
        if self.counts_cached:
            usage["prompt_tokens_details"] = {"cached_tokens": cached}  # the last prompt's, as vLLM does
        answer = {"choices": choices[::-1], "usage": usage if self.counts_tokens else None, "model": body["model"]}
        answer["system_fingerprint"] = self.fingerprint
        return Response(json.dumps(answer), media_type="application/json")  # NaN and Infinity as some servers have them

    async def _top(self, prompt: str | list[int], ids: list[int], body: dict[str, Any]) -> tuple[Top, int]:
        target_ids = body.get("logprob_token_ids") if self.takes_ids else None
        if target_ids:
            # The token that was sampled stands there too.
            found = await self.engine.read(ids, [*target_ids, 12345], "base")
            return {f"token_id:{k}": v for k, v in zip([*target_ids, 12345], found.logprobs, strict=True)}, (
                found.num_cached_tokens
            )
        words = prompt.split() if isinstance(prompt, str) else []
        tokens = list(dict.fromkeys(f" {word}" for word in [*words, *WORDS]))
        found = await self.engine.read(ids, [self._ids(token, special=False)[0] for token in tokens], "base")
        top = sorted(zip(tokens, found.logprobs, strict=True), key=lambda each: -each[1])
        return dict(top[: max(body["logprobs"], 1)]), found.num_cached_tokens

    def _shaped(self, top: Any) -> Any:
        if not isinstance(top, dict):
            return top
        if self.chat_shape:
            entries = [{"token": token, "logprob": value} for token, value in top.items()]
            return {"content": [{**entries[0], "top_logprobs": entries}]}
        return {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": [top], "text_offset": [0]}

    def _ids(self, text: str, *, special: bool) -> list[int]:
        tokenizer = self.engine.tokenizer
        return [*(tokenizer.bos if special else []), *tokenizer.encode_many([text])[0].ids]

    def _refused(self, request: Request) -> JSONResponse | None:
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _error(401, "Unauthorized")
        return None


def each_value(change: Callable[[float], Any]) -> Spoil:
    """Spoils every log-probability by itself."""
    return lambda place, top, body: {token: change(value) for token, value in top.items()}


def without(place: int, top: Top, body: dict[str, Any]) -> Any:
    """No log-probabilities at all."""
    return None


def by_place(place: int, top: Top, body: dict[str, Any]) -> Top:
    """In a request of several prompts the values depend on the place there."""
    return {token: value - place for token, value in top.items()}


def by_order(place: int, top: Top, body: dict[str, Any]) -> Top:
    """The values belong to the places in which tokens were asked for, not to the tokens."""
    return dict(zip(top, sorted(top.values()), strict=True))


class ByTurn:
    """Every answer is one nat lower than the last."""

    def __init__(self) -> None:
        self.num = 0

    def __call__(self, place: int, top: Top, body: dict[str, Any]) -> Top:
        self.num += 1
        return {token: value - self.num for token, value in top.items()}


def same_for_all_prompts(place: int, top: Top, body: dict[str, Any]) -> Top:
    """The same values whatever the prompt."""
    return {token: -math.log(2 + k) for k, token in enumerate(sorted(top))}


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "code": status}}, status)
