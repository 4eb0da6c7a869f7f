"""Reads each request body completely before other work: decompressed, and limited in size and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icm_client.contract.errors import BusyError, IcmError, RequestError
from icm_server.auth.tenant import ANYONE, Tenant
from icm_server.config import ConnectionLimits
from icm_server.middleware.body_pace import TOO_SLOW, BodyPace
from icm_server.middleware.content_coding import ACCEPTED, CorruptBodyError, Unpacking
from icm_server.middleware.incoming import NOTHING, PATIENT, Drain, Incoming, announces_body, refuse
from icm_server.middleware.streamed_body import pass_on_pieces
from icm_server.sharing.fair_lock import FairLock, Place
from icm_server.sharing.shared_limit import SharedLimit

HELD_BODIES = 4
"""How many bodies of the largest size may be kept at once, from reading them until their answers begin."""

UNPACKED_BYTES = 2**22
"""How much of a body is decompressed in one turn."""


@dataclass(eq=False, slots=True)
class _KeptBody:
    """One body, or what there is of it yet."""

    tenant: Tenant
    """The holder of its key."""
    place: Place
    """Its place in the lock's queue, for decompression."""
    pieces: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    """Bytes counted for it. They stay counted when the body is passed on, because the parsed body takes memory too."""

    def take(self) -> bytes:
        whole = b"".join(self.pieces)
        self.pieces.clear()
        return whole


class BodyLimit:
    """ASGI middleware: 413 for a body that is too large, before or after decompression; 400 for one that cannot be
    decompressed.

    A body is rejected by its announced length, or as soon as it exceeds the limit. It is rejected with 429 if too much
    memory is used, which is divided by `request.state.tenant` if `shared`, and with 408 if it comes too slowly. The
    application gets the body in one piece, without its Content-Encoding. `check` raises IcmError for a request that is
    rejected whatever its body is; then nothing of the body is kept or decompressed. Only a POST to one of `paths`
    (None: any request) has a body; the body of any other request is not read, and its connection is closed after the
    answer. A request that is `streamed` gets its body as it is sent, piece by piece, and limits its size itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        *,
        shared: bool = False,
        paths: Collection[str] | None = None,
        limits: ConnectionLimits | None = None,
        check: Callable[[Scope], None] = lambda scope: None,
        streamed: Callable[[Scope], bool] = lambda scope: False,
        drain: Drain = PATIENT,
    ):
        self._app, self._limit, self._paths, self._drain = app, max_body_bytes, paths, drain
        self._check, self._streamed = check, streamed
        self._pace = limits or ConnectionLimits()
        self._lock = FairLock(time.monotonic)
        self._shares = SharedLimit(HELD_BODIES * max_body_bytes, shared=shared)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._streamed(scope):
            await pass_on_pieces(self._app, self._pace, scope, receive, send, self._drain)
        elif self._paths is None or (scope["method"] == "POST" and scope["path"] in self._paths):
            await self._with_body(scope, receive, send)
        elif announces_body(scope):
            await self._app(scope, _nothing_more(), _closing(send))
        else:
            await self._app(scope, receive, send)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = scope.get("state", {}).get("tenant", ANYONE)
        kept = _KeptBody(tenant, self._lock.place(tenant, 0))
        incoming = Incoming(receive)
        try:
            try:
                self._check(scope)
                await self._read(Headers(scope=scope), incoming, kept)
            except IcmError as error:
                self._release(kept)
                drain = NOTHING if error.code == TOO_SLOW else self._drain
                await refuse(error, [("Accept-Encoding", ACCEPTED)], incoming, scope, receive, send, drain)
            except ConnectionError:
                pass  # the client has disconnected
            else:
                await self._pass_on(kept, scope, receive, send)
        finally:
            self._release(kept)

    async def _read(self, headers: Headers, incoming: Incoming, kept: _KeptBody) -> None:
        """Appends the decompressed pieces to `kept`."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._limit:
            raise self._too_large()
        unpacking = _unpacking(headers)
        pace = BodyPace(incoming, self._pace)
        try:
            while incoming.more:
                piece = await pace.next()
                if pace.num_bytes > self._limit:
                    raise self._too_large()
                if unpacking:
                    await self._unpack(unpacking, piece, kept)
                else:
                    self._hold(piece, kept)
            if unpacking:
                unpacking.finish()
        except CorruptBodyError as error:
            raise RequestError(str(error), code="corrupt_body", status=400) from None

    async def _unpack(self, unpacking: Unpacking, piece: bytes, kept: _KeptBody) -> None:
        """Decompresses in small turns, so that little memory is uncounted and tenants share the time."""
        while piece:
            async with self._lock.holding(kept.place):
                plain, piece = await asyncio.to_thread(unpacking.feed, piece, UNPACKED_BYTES)
            self._hold(plain, kept)

    def _hold(self, plain: bytes, kept: _KeptBody) -> None:
        if kept.num_bytes + len(plain) > self._limit:
            raise self._too_large()
        if not self._shares.take(kept.tenant.name, len(plain)):
            raise BusyError("the scorer's memory for requests is full: retry later", code="busy_memory")
        kept.num_bytes += len(plain)
        kept.pieces.append(plain)

    async def _pass_on(self, kept: _KeptBody, scope: Scope, receive: Receive, send: Send) -> None:
        whole: list[Message] = [{"type": "http.request", "body": kept.take(), "more_body": False}]

        async def received() -> Message:
            return whole.pop() if whole else await receive()

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._release(kept)
                MutableHeaders(scope=message)["Accept-Encoding"] = ACCEPTED
            await send(message)

        headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-encoding", b"content-length")]
        await self._app({**scope, "headers": headers}, received, telling)

    def _release(self, kept: _KeptBody) -> None:
        self._shares.give_back(kept.tenant.name, kept.num_bytes)
        kept.num_bytes = 0
        kept.pieces.clear()

    def _too_large(self) -> RequestError:
        return RequestError(
            f"the body is larger than {self._limit} bytes (decompressed): split the request",
            code="body_too_large",
            status=413,
        )


def _unpacking(headers: Headers) -> Unpacking | None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    try:
        return Unpacking(encoding)
    except KeyError:
        raise RequestError(
            f"bodies of Content-Encoding {encoding[:50]!r} are not taken; there are {ACCEPTED}",
            code="unsupported_encoding",
            status=415,
        ) from None


def _nothing_more() -> Receive:
    """An empty body. It does not wait for a disconnect, because that would read what the client sends."""
    empty: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if empty:
            return empty.pop()
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def _closing(send: Send) -> Send:
    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
        await send(message)

    return closing
