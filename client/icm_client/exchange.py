"""One scorer's HTTP: requests out, answers or typed errors in. Nothing that httpx raises passes it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx

from icm_client.compression import accepted, compressed
from icm_client.errors import IcmError, RequestError, ScorerError, UnavailableError, error_from_body
from icm_client.http_common import authorization, moved
from icm_client.retry import retry_after_s

MAX_ERROR_BYTES = 2**20
"""How much of an error's body is read."""
THREAD_BYTES = 2**18
"""Larger bodies are compressed beside the event loop."""


class Exchange:
    """Sends to one address. Raises RequestError at once if it is no URL, or if the key cannot be one."""

    def __init__(
        self, base_url: str, *, api_key: str | None, read_timeout_s: float, transport: httpx.AsyncBaseTransport | None
    ):
        try:
            url = httpx.URL(base_url.rstrip("/"))
            if not url.host:
                raise ValueError("it names no host; write http://HOST:PORT")
            self.url = str(url.copy_with(userinfo=b""))  # for people: without a password
            self._http = httpx.AsyncClient(
                base_url=url,
                headers=authorization(api_key),
                timeout=httpx.Timeout(10.0, read=read_timeout_s, write=300.0),
                transport=transport,
            )
        except (httpx.InvalidURL, ValueError) as error:
            shown = re.sub(r"//.*@", "//", base_url)
            raise RequestError(f"{shown!r} is not a URL of a scorer: {error}") from None
        self._encodings: frozenset[str] = frozenset()

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> bytes:
        """The body of a success."""
        with self._told():
            async with self._http.stream("GET", path) as response:
                await self._check(response)
                return await response.aread()

    @asynccontextmanager
    async def post(self, path: str, content: bytes, accept: str) -> AsyncIterator[httpx.Response]:
        """A success whose body is still to be read; what the reading raises is mapped too."""
        encodings = self._encodings
        body = (
            await asyncio.to_thread(compressed, content, encodings)
            if len(content) > THREAD_BYTES
            else compressed(content, encodings)
        )
        headers = {"Content-Type": "application/json", "Accept": accept}
        if body.encoding:
            headers["Content-Encoding"] = body.encoding
        with self._told():
            async with self._http.stream("POST", path, content=body.content, headers=headers) as response:
                await self._check(response)
                yield response

    async def _check(self, response: httpx.Response) -> None:
        self._encodings = accepted(response.headers.get("Accept-Encoding", ""))
        if response.status_code != 200:
            raise await self._error(response)

    async def _error(self, response: httpx.Response) -> IcmError:
        if redirect := moved(self.url, response):
            return redirect
        content = b""
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_ERROR_BYTES:
                break
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None  # a proxy's page, or nothing
        return error_from_body(response.status_code, body, retry_after_s(response.headers.get("Retry-After", "")))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise RequestError(f"{self.url!r} is not a URL of a scorer: {error}") from None
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(
                f"cannot reach the scorer at {self.url} ({reason}). "
                "Start one with `icm-server serve`, or check the address.",
                details={"reason": reason},
            ) from error
        except httpx.DecodingError as error:
            raise ScorerError(
                f"the answer of {self.url} cannot be decompressed ({error}): something on the way damages it",
                code="bad_answer",
            ) from None
