"""Compresses answers as they are sent, with little memory each: thousands may be open at once. A leaf."""

from __future__ import annotations

import zlib

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.types import Receive, Scope, Send

LEVEL = 1
"""A stream is flushed after every piece, so a higher level gains little."""
WINDOW_BITS, MEMORY_LEVEL = 11, 4
"""16 KB per answer instead of zlib's default of 262 KB; rows of numbers are compressed equally well."""


class AnswerGzip(GZipMiddleware):
    """ASGI middleware: compresses answers for clients that accept gzip, except small ones sent in one piece."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "gzip" in Headers(scope=scope).get("Accept-Encoding", ""):
            await _Responder(self.app, self.minimum_size)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Responder(GZipResponder):
    @property
    def compressor(self) -> zlib._Compress:
        if self._compressor is None:
            self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + WINDOW_BITS, MEMORY_LEVEL)
        return self._compressor
