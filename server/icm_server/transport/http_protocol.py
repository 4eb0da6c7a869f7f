"""uvicorn's HTTP connection, with limits on its headers, its pipelined requests, and its transfer rate."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from icm_client.contract.errors import IcmError, RequestError, UnavailableError, error_body
from icm_server.config import ConnectionLimits
from icm_server.transport.connections import Connections

MAX_PIPELINED = 8
"""The most pipelined requests behind the one that is being answered."""
_ACKED = struct.Struct("@Q")
_ACKED_AT = 120
"""The offset of `tcpi_bytes_acked` in Linux's `struct tcp_info`."""


class LimitedProtocol(HttpToolsProtocol):
    """With keys, `known_as` assigns the connection to a tenant; without, its first complete request makes it known."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        limits: ConnectionLimits,
        registry: Connections,
        has_keys: bool,
    ):
        super().__init__(config, server_state, app_state)
        self.timeout_keep_alive = limits.keep_alive_s  # type: ignore[assignment]
        self._limits, self._registry, self._has_keys = limits, registry, has_keys
        self._is_displaced = False
        self._error: IcmError | None = None
        """Why the parser was stopped."""
        self._head_since: float | None = None
        """When the connection began to wait for headers; None while it does anything else."""
        self._in_head = False
        """Part of a request's headers has arrived, so an error is answered."""
        self._head_bytes = self._num_headers = self._unheard_bytes = 0
        self._stalled_since: float | None = None
        self._acked = 0
        self._open: deque[RequestResponseCycle] = deque()
        """Requests that are not answered, in order; `cycle` is the latest."""

    def known_as(self, holder: str) -> None:
        """Assigns the connection to the holder whose key a request on it has shown."""
        if not self._registry.know(self, holder):
            self.cycle.keep_alive = False

    def displace(self) -> None:
        """Closes the connection to make room for another."""
        self._is_displaced = True
        if self.transport is None:
            return
        if self._in_head:
            self._end(
                UnavailableError("too many connections; the oldest one without an API key was closed", code="displaced")
            )
        self.transport.abort()

    def look(self, now: float) -> None:
        """Closes the connection if it is too slow. Call it regularly."""
        if self.transport is None:
            return
        if self._head_since is not None and now - self._head_since > self._limits.header_s:
            if self._in_head:
                self._end(_header_error(f"did not arrive within {self._limits.header_s:g} s", 408))
            else:
                self.transport.close()
            self._head_since = None
        self._look_at_answer(now)

    # Called by uvicorn and the parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        if self._is_displaced:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._registry.remove(self)
        super().connection_lost(exc)
        for each in self._open:  # uvicorn notifies only the last one
            each.disconnected = True
            each.message_event.set()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), self._limits.max_header_bytes):
            piece = data[start : start + self._limits.max_header_bytes]
            self._unheard_bytes += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if self._unheard_bytes > self._limits.max_header_bytes:  # the parser would buffer headers without end
                self._end(self._too_large())
                return
        self._wait_for_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._num_headers = self._unheard_bytes = 0
        self._wait_for_head()
        self.scope["state"]["connection"] = self

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._num_headers += 1
        self._count(len(name) + len(value) + len(b": \r\n"))
        if self._in_head:  # trailers after a body are ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_since, self._in_head, self._unheard_bytes = None, False, 0
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(RequestError("too many requests before the first answer", code="pipelined", status=400))
        super().on_headers_complete()
        self._open.append(self.cycle)
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # there is no other protocol, so what follows an upgrade is not read

    def on_body(self, body: bytes) -> None:
        self._unheard_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unheard_bytes = 0
        super().on_message_complete()
        if not self._has_keys:
            self.known_as("anyone")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._open.popleft().more_body:
            self.transport.close()  # the rest of the request is not needed
        elif self._in_head:
            self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """Answers a request that could not be parsed, in the format of all errors."""
        error, self._error = self._error, None
        self._end(error or RequestError("this is not an HTTP request", code="bad_http", status=400))

    # Own methods

    def _wait_for_head(self) -> None:
        if self._head_since is None and not self._open:
            self._head_since = self.loop.time()

    def _count(self, num_bytes: int) -> None:
        self._unheard_bytes = 0
        self._head_bytes += num_bytes
        if self._head_bytes > self._limits.max_header_bytes or self._num_headers > self._limits.max_headers:
            self._stop(self._too_large())

    def _too_large(self) -> RequestError:
        limits = self._limits
        return _header_error(f"are more than {limits.max_header_bytes} bytes or {limits.max_headers} headers", 431)

    def _stop(self, error: IcmError) -> None:
        """Stops the parser in the middle of its input."""
        self._error = error
        raise error

    def _end(self, error: IcmError) -> None:
        """Closes the connection. Sends the error first, unless an answer is running or has been partly sent."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        if not self.transport.is_closing():
            self.transport.write(_raw(error))
            self.transport.close()

    def _look_at_answer(self, now: float) -> None:
        """Cancels an answer that the client does not read: it would hold its memory and connection for nothing."""
        if not self.transport.get_write_buffer_size():
            self._stalled_since = None
            return
        acked = _acked(self.transport.get_extra_info("socket"))
        if self._stalled_since is None or not acked:
            self._stalled_since, self._acked = now, acked
            return
        waited_s = now - self._stalled_since
        if waited_s < self._limits.answer_stall_s:
            return
        if acked - self._acked < waited_s * self._limits.min_bytes_per_s:
            self.transport.abort()
        self._stalled_since, self._acked = now, acked


def _header_error(what: str, status: int) -> RequestError:
    return RequestError(f"the request's headers {what}", code="headers", status=status)


def _raw(error: IcmError) -> bytes:
    body = json.dumps(error_body(error)).encode()
    head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/json\r\n"
    retry = "Retry-After: 1\r\n" if error.status == UnavailableError.status else ""
    return f"{head}{retry}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def _acked(connection: Any) -> int:
    """Bytes that the peer has acknowledged since the connection was opened (at least one); 0 if the system does not
    report them."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + _ACKED.size)
    except (OSError, AttributeError):
        return 0
    return int(_ACKED.unpack_from(info, _ACKED_AT)[0]) if len(info) >= _ACKED_AT + _ACKED.size else 0
