"""JSON over HTTP to a third-party server: retries, bounded answers, and one-line errors."""

from __future__ import annotations

import functools
import json
from typing import Any

import httpx

from icm_client.contract.errors import ScorerError
from icm_client.http.address import Address
from icm_client.http.connection import Connection
from icm_client.http.retry import RetryPolicy
from icm_client.http.retry_loop import OnWait, RetryLoop

MAX_ANSWER_BYTES = 64 * 1024**2
MAX_SHOWN_CHARS = 400
"""The most characters shown of a server's own message."""


class EndpointHttp:
    """The endpoint at `url` (`http://host:8000` or `.../v1`); close it when done.

    Connection errors, 429 and 503 are retried as `retry` says; `on_wait(reason, seconds_waited)` is called before each
    pause. Raises the errors of `icm_client.contract.errors`.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        read_timeout_s: float = 600.0,
        on_wait: OnWait | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        address = Address.parse(url, "an endpoint")
        address = address._replace(url=address.url.removesuffix("/v1"))
        self.root = address.url
        self._retries = RetryLoop(retry or RetryPolicy(patience_s=60.0), on_wait)
        self._connection = Connection(
            address,
            "the endpoint",
            "Is the address right?",
            api_key=api_key,
            read_timeout_s=read_timeout_s,
            transport=transport,
        )

    async def close(self) -> None:
        await self._connection.close()

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The server's JSON answer at `path`, such as `/v1/models`."""
        content = await self.content(method, path, body)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise ScorerError(f"{self.root}{path} answered something that is not JSON") from None

    async def content(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The server's answer at `path`, unparsed."""
        return await self._retries.call(functools.partial(self._send, method, path, body))

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        async with self._connection.send(method, path, content, headers) as response:
            if response.status_code == 200:
                return await self._connection.whole(response, MAX_ANSWER_BYTES)
            error = await self._connection.error(response)
            error.message = f"{self.root}{path}: {error.message[:MAX_SHOWN_CHARS]}"
            error.args = (error.message,)
            raise error
