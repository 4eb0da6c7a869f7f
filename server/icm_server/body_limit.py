"""Refuses request bodies that are too large. A leaf."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icm_client.errors import RequestError, error_body


class BodyLimit:
    """ASGI middleware: 413 by the announced length, or while the body arrives if none is announced."""

    def __init__(self, app: ASGIApp, max_body_bytes: int):
        self._app, self._limit = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > self._limit:
            await _drain(receive)
            error = RequestError(self._message(), code="body_too_large")
            await JSONResponse(error_body(error), status_code=413)(scope, receive, send)
            return
        num_seen = 0

        async def limited() -> Message:
            nonlocal num_seen
            message = await receive()
            num_seen += len(message.get("body", b""))
            if num_seen > self._limit:
                raise HTTPException(413, self._message())
            return message

        await self._app(scope, limited, send)

    def _message(self) -> str:
        return f"the body is larger than the {self._limit} bytes that this scorer takes: split the request"


async def _drain(receive: Receive) -> None:
    """Reads the body to its end and forgets it: a client that is still sending does not see the answer."""
    while True:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
