"""A client of any OpenAI-compatible `/v1/completions`, as far as sampling texts needs one."""

from __future__ import annotations

import asyncio
import json
import time
from types import TracebackType
from typing import Any

import httpx
import numpy as np

from icm_client.errors import IcmError, RequestError, ScorerError, UnavailableError, error_from_body
from icm_client.retry import RetryPolicy, retry_after_s

MAX_ANSWER_BYTES = 64 * 1024**2


class Completions:
    """Samples from the endpoint at `url` (`http://host:8000` or `.../v1`); an async context manager.

    Connection errors, 429 and 503 are tried again as long as `retry` says. Raises the errors of `icm_client.errors`.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        base = url.rstrip("/")
        self._base = base if base.endswith("/v1") else base + "/v1"
        self._model = model
        self._retry = retry or RetryPolicy(patience_s=60.0)
        self._jitter = np.random.default_rng()  # spreads retries; touches no result
        try:
            if httpx.URL(self._base).scheme not in ("http", "https") or not httpx.URL(self._base).host:
                raise ValueError("write http://HOST:PORT")
            self._http = httpx.AsyncClient(
                headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
                timeout=httpx.Timeout(10.0, read=600.0),
                transport=transport,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise RequestError(f"{url!r} is not a URL of an endpoint: {error}") from None

    async def __aenter__(self) -> Completions:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def model(self) -> str:
        """The model that is asked: the one named, or else the first that the endpoint lists."""
        if self._model is None:
            listed = await self._ask("GET", "/models", None)
            try:
                self._model = str(listed["data"][0]["id"])
            except (KeyError, IndexError, TypeError):
                raise ScorerError(f"{self._base}/models lists no model; name one with --model") from None
        return self._model

    async def sample(
        self, prompt: str, *, num: int, seed: int, temperature: float, max_tokens: int, stop: list[str]
    ) -> list[str]:
        """Up to `num` texts behind the prompt (an endpoint may give fewer at a time)."""
        body = {"model": await self.model(), "prompt": prompt, "n": num, "seed": seed}
        body |= {"temperature": temperature, "max_tokens": max_tokens, "stop": stop}
        answer = await self._ask("POST", "/completions", body)
        try:
            texts = [choice["text"] for choice in answer["choices"]]
        except (KeyError, TypeError):
            texts = [None]
        if not all(isinstance(text, str) for text in texts):
            raise ScorerError(f"{self._base}/completions answered something other than choices with a text")
        return texts

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        start, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                return await self._send(method, path, body)
            except IcmError as error:
                wait_s = self._retry.wait_s(error, attempt, time.monotonic() - start, self._jitter)
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        content = bytearray()
        try:
            async with self._http.stream(method, self._base + path, json=body) as response:
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise ScorerError(f"{self._base}{path} answered more than {MAX_ANSWER_BYTES} bytes")
        except httpx.TransportError as error:
            raise UnavailableError(
                f"cannot reach {self._base}{path} ({error or type(error).__name__}); is the address right?"
            ) from None
        if response.status_code != 200:
            raise self._refusal(path, response, content)
        try:
            return json.loads(content)
        except ValueError:
            raise ScorerError(f"{self._base}{path} answered something that is not JSON") from None

    def _refusal(self, path: str, response: httpx.Response, content: bytes | bytearray) -> IcmError:
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        after_s = retry_after_s(response.headers.get("Retry-After", ""))
        error = error_from_body(response.status_code, body, after_s)
        error.message = f"{self._base}{path}: {error.message}"
        error.args = (error.message,)
        return error
