"""Answers compressed as they are sent, each in little memory: thousands may be open at once. A leaf."""

from __future__ import annotations

import zlib

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.types import Receive, Scope, Send

LEVEL = 1
"""A stream is flushed with every piece, so that there is little to gain by more."""
WINDOW_BITS, MEMORY_LEVEL = 11, 4
"""16 KB an answer, zlib's own choice would be 262 KB; numbers in rows get as small with it."""


class AnswerGzip(GZipMiddleware):
    """ASGI middleware: compresses answers for those who take gzip, but for small ones that come in one piece."""

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
