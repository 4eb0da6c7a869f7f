"""HTTP with one scorer: sends requests, and returns answers or raises typed errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
import pydantic

from icm_client.contract.errors import IcmError
from icm_client.contract.wire import STREAM_TYPE, ScoreRequest, ScoreResponse
from icm_client.http.adapter_files import AdapterFiles
from icm_client.http.address import Address
from icm_client.http.compression import accepted, compressed
from icm_client.http.connection import Connection
from icm_client.http.stream import StreamedLine, lines_of, not_of_this_protocol, read_lines, while_rows_come

THREAD_BYTES = 2**18
"""Larger bodies are compressed in a thread."""
MAX_SMALL_BYTES = 2**22
"""The most bytes of an answer without log-probabilities, and of the other fields of an answer with them: a ModelInfo
may list MAX_ADAPTERS adapters."""
ROW_BYTES, VALUE_BYTES = 128, 32
"""The most bytes of a prompt's row, and of each log-probability, in an answer."""

_Model = TypeVar("_Model", bound=pydantic.BaseModel)


class Exchange:
    """Sends requests to one address. Raises RequestError at once for an invalid or unusable address; see
    `Connection`."""

    def __init__(
        self, base_url: str, *, api_key: str | None, read_timeout_s: float, transport: httpx.AsyncBaseTransport | None
    ):
        address = Address.parse(base_url)
        self.url, self._silent_s = address.url, read_timeout_s
        self._connection = Connection(
            address,
            "the scorer",
            "Start one with `icm-server serve`, or check the address.",
            api_key=api_key,
            read_timeout_s=read_timeout_s,
            transport=transport,
        )
        self._encodings: frozenset[str] = frozenset()

    async def close(self) -> None:
        await self._connection.close()

    async def ready(self) -> None:
        """Raises UnavailableError until the scorer has answered a real read."""
        async with self._success("GET", "/readyz") as response:
            await self._connection.whole(response, MAX_SMALL_BYTES)

    async def is_openai(self) -> bool:
        """Whether the server lists models as OpenAI's does, or would with a key. False if it does not answer."""
        try:
            async with self._connection.send("GET", "/v1/models") as response:
                content = await self._connection.whole(response, MAX_SMALL_BYTES)
                body = json.loads(content)
        except (IcmError, ValueError, RecursionError):
            return False
        if not isinstance(body, dict):
            return False
        if response.status_code == 200:
            return isinstance(body.get("data"), list)
        error = body.get("error")  # an icm-server's has no type
        is_typed = isinstance(error, str) or (isinstance(error, dict) and "type" in error)
        return response.status_code in (401, 403) and is_typed

    async def ask(
        self, answer: type[_Model], path: str, body: pydantic.BaseModel | None = None, *, method: str | None = None
    ) -> _Model:
        """A small answer; by default POST if there is a body, otherwise GET."""
        content = body.model_dump_json(exclude_defaults=True).encode() if body is not None else None
        method = method or ("GET" if body is None else "POST")
        async with self._success(method, path, content, "application/json") as response:
            return _parsed(answer, await self._connection.whole(response, MAX_SMALL_BYTES))

    async def upload(self, answer: type[_Model], path: str, files: AdapterFiles) -> _Model:
        """A small answer to a PUT of files."""
        async with self._connection.send("PUT", path, files.pieces(), files.headers) as response:
            if response.status_code != 200:
                raise await self._connection.error(response)
            return _parsed(answer, await self._connection.whole(response, MAX_SMALL_BYTES))

    async def lines(self, request: ScoreRequest) -> AsyncGenerator[StreamedLine]:
        """An answer line by line. Raises UnavailableError if no row arrives within the read timeout."""
        max_bytes = MAX_SMALL_BYTES + len(request.prompts) * (ROW_BYTES + VALUE_BYTES * len(request.labels))
        async with self._success("POST", "/v1/score", request.body(), STREAM_TYPE) as response:
            if response.headers.get("Content-Type", "").startswith(STREAM_TYPE):
                pieces = self._connection.pieces(response, max_bytes)
                async for line in while_rows_come(read_lines(pieces), self._silent_s):
                    yield line
            else:
                for line in lines_of(_parsed(ScoreResponse, await self._connection.whole(response, max_bytes))):
                    yield line

    @asynccontextmanager
    async def _success(
        self, method: str, path: str, content: bytes | None = None, accept: str = "application/json"
    ) -> AsyncIterator[httpx.Response]:
        headers = {"Accept": accept}
        if content is not None:
            body = (
                await asyncio.to_thread(compressed, content, self._encodings)
                if len(content) > THREAD_BYTES
                else compressed(content, self._encodings)
            )
            content = body.content
            headers["Content-Type"] = "application/json"
            if body.encoding:
                headers["Content-Encoding"] = body.encoding
        async with self._connection.send(method, path, content, headers) as response:
            self._encodings = accepted(response.headers.get("Accept-Encoding", ""))
            if response.status_code != 200:
                raise await self._connection.error(response)
            yield response


def _parsed(model: type[_Model], content: bytes) -> _Model:
    try:
        return model.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise not_of_this_protocol(error) from None
