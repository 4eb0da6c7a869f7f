"""Requests for leave-one-out passes over texts that nobody has asked before, and what asking them takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import httpx
import numpy as np

from icm_annealer.benchmarks.plans import fresh_pass
from icm_client import ScorerClient, ScoreRequest
from icm_client.contract.wire import label_texts
from icm_client.openai_compat.joined import joined_prompts

RNG = np.random.default_rng()
"""Other texts in every run: a scorer remembers what it has read."""

STOCK_BATCHES = ((32, 8), (1, 128), (256, 1))
"""Ways to send prompts to stock vLLM: how many a request, and how many requests at a time."""


class Asked(NamedTuple):
    """One pass."""

    seconds: float
    computed_tokens: int


async def fresh(
    client: ScorerClient, num_examples: int, shot_tokens: int, plan: str = "tree", experiment: str = "bench"
) -> ScoreRequest:
    passes, ask = await fresh_pass(
        client, await client.model(), RNG, num_examples, shot_tokens, plan=plan, experiment=experiment
    )
    return passes.request(ask)


async def ask(client: ScorerClient, request: ScoreRequest) -> Asked:
    """Through the scorer."""
    start = time.perf_counter()
    answer = await client.score(request)
    return Asked(time.perf_counter() - start, answer.usage.computed_tokens)


class Stock:
    """`vllm serve`, which is sent every prompt's whole text, in the plan's order."""

    def __init__(self, url: str):
        # vLLM closes connections that were idle for 5 s: none as old is used again.
        limits = httpx.Limits(max_connections=256, keepalive_expiry=2.0)
        self._http = httpx.AsyncClient(base_url=url, timeout=600, limits=limits)

    async def labels(self, request: ScoreRequest) -> list[int]:
        """The label's token ids; each has to be one token."""
        ids = []
        for label in request.labels:
            (text,) = label_texts(label)
            body = {"model": "stock", "prompt": text, "add_special_tokens": False}
            answer = await self._http.post("/tokenize", json=body)
            (token,) = answer.json()["tokens"]
            ids.append(token)
        return ids

    async def best_batch(self, make: Callable[[], Awaitable[ScoreRequest]]) -> tuple[int, int]:
        """The fastest of the ways to send such passes."""
        seconds = {batch: (await self.ask(await make(), batch)).seconds for batch in STOCK_BATCHES}
        return min(seconds, key=lambda batch: seconds[batch])

    async def ask(self, request: ScoreRequest, batch: tuple[int, int]) -> Asked:
        labels = await self.labels(request)
        texts = [prompt.text for prompt in joined_prompts(request)]
        num_prompts, num_requests = batch
        body = {"model": "stock", "max_tokens": 1, "temperature": 0, "logprobs": 0, "logprob_token_ids": labels}
        turn, computed = asyncio.Semaphore(num_requests), 0

        async def send(start: int) -> None:
            nonlocal computed
            async with turn:
                answer = await self._http.post(
                    "/v1/completions", json={**body, "prompt": texts[start : start + num_prompts]}
                )
            found = answer.raise_for_status().json()
            assert len(found["choices"]) == len(texts[start : start + num_prompts])
            cached = (found["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            computed += found["usage"]["prompt_tokens"] - cached

        start = time.perf_counter()
        await asyncio.gather(*map(send, range(0, len(texts), num_prompts)))
        # vLLM counts the cached tokens of a request's last prompt alone, so for one prompt a request this is right.
        return Asked(time.perf_counter() - start, computed if num_prompts == 1 else 0)

    async def aclose(self) -> None:
        await self._http.aclose()
