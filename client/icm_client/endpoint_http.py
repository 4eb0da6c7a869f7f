"""JSON over HTTP to a server that others wrote: retries, bounded answers, and its refusals as one line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np

from icm_client.errors import IcmError, RequestError, ScorerError, UnavailableError, error_from_body
from icm_client.http_common import authorization, moved
from icm_client.retry import RetryPolicy, Tries, retry_after_s

MAX_ANSWER_BYTES = 64 * 1024**2
MAX_TOLD_CHARS = 400
"""As much of a server's own message is told."""


class EndpointHttp:
    """The endpoint at `url` (`http://host:8000` or `.../v1`); close it when done.

    Connection errors, 429 and 503 are tried again as long as `retry` says, counted from the first of them;
    `on_wait(reason, seconds_waited)` is called before each pause. Raises the errors of `icm_client.errors`.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        read_timeout_s: float = 600.0,
        on_wait: Callable[[str, float], None] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        self.root = url.rstrip("/").removesuffix("/v1")
        self._retry = retry or RetryPolicy(patience_s=60.0)
        self._on_wait = on_wait
        self._jitter = np.random.default_rng()  # spreads retries; touches no result
        try:
            if httpx.URL(self.root).scheme not in ("http", "https") or not httpx.URL(self.root).host:
                raise ValueError("write http://HOST:PORT")
            self._http = httpx.AsyncClient(
                headers=authorization(api_key),
                timeout=httpx.Timeout(10.0, read=read_timeout_s, write=300.0, pool=None),
                transport=transport,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise RequestError(f"{url!r} is not a URL of an endpoint: {error}") from None

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that the server answers at `path`, such as `/v1/models`."""
        content = await self.content(method, path, body)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise ScorerError(f"{self.root}{path} answered something that is not JSON") from None

    async def content(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """What the server answers at `path`, as it is."""
        start_s, tries = time.monotonic(), None
        while True:
            try:
                return await self._send(method, path, body)
            except IcmError as error:
                now_s = time.monotonic()
                tries = tries or Tries(self._retry, now_s)  # until then it was there, however long it computed
                wait_s = tries.failed(error, now_s, self._jitter)
                if wait_s is None:
                    raise
                if self._on_wait:
                    self._on_wait(error.message, now_s - start_s)
                await asyncio.sleep(wait_s)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        content = bytearray()
        try:
            async with self._http.stream(method, self.root + path, json=body) as response:
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise ScorerError(f"{self.root}{path} answered more than {MAX_ANSWER_BYTES} bytes")
        except httpx.TransportError as error:
            raise UnavailableError(
                f"cannot reach {self.root}{path} ({error or type(error).__name__}); is the address right?"
            ) from None
        except httpx.DecodingError as error:
            raise ScorerError(f"the answer of {self.root}{path} cannot be decompressed ({error})") from None
        if response.status_code != 200:
            raise self._refusal(path, response, content)
        return bytes(content)

    def _refusal(self, path: str, response: httpx.Response, content: bytes | bytearray) -> IcmError:
        if redirect := moved(self.root + path, response):
            return redirect
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        after_s = retry_after_s(response.headers.get("Retry-After", ""))
        error = error_from_body(response.status_code, body, after_s)
        error.message = f"{self.root}{path}: {' '.join(error.message.split())[:MAX_TOLD_CHARS]}"
        error.args = (error.message,)
        return error
