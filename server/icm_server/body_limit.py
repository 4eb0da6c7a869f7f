"""Reads request bodies whole, before anything else is done for them: unpacked, limited in size and in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icm_client.errors import BusyError, IcmError, RequestError
from icm_server.content_coding import ACCEPTED, CorruptBodyError, Unpacking
from icm_server.incoming import Incoming, refuse

MAX_SILENCE_S = 60.0
"""How long a body may come to a halt before it is given up: a caller that died must not be waited for."""
MAX_BODY_S = 900.0
"""How long a whole body may take."""
HELD_BODIES = 4
"""How many bodies of the largest size may be held at once, while they are read and until their answers begin."""


@dataclass(eq=False, slots=True)
class _Held:
    """One body, or what there is of it yet."""

    pieces: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    """That are counted for it. They stay so when it is passed on, since what is made of it takes memory as well."""

    def taken(self) -> bytes:
        whole = b"".join(self.pieces)
        self.pieces.clear()
        return whole


class BodyLimit:
    """ASGI middleware: 413 for a body that is too large, also once unpacked; 400 for one that cannot be unpacked.

    A body is refused by its announced length, or as soon as it has grown over the limit; 429 if too much is held
    already. The application gets it in one piece, without its Content-Encoding.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, max_silence_s: float = MAX_SILENCE_S):
        self._app, self._limit, self._max_silence_s = app, max_body_bytes, max_silence_s
        self._num_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held = _Held()
        incoming = Incoming(receive)
        try:
            try:
                await self._read(Headers(scope=scope), incoming, held)
            except IcmError as error:
                self._release(held)
                await refuse(error, {"Accept-Encoding": ACCEPTED}, incoming, scope, receive, send)
            except ConnectionError:
                pass  # nobody is there to be answered
            else:
                await self._pass_on(held, scope, receive, send)
        finally:
            self._release(held)

    async def _read(self, headers: Headers, incoming: Incoming, held: _Held) -> None:
        """Adds the plain body's pieces."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._limit:
            raise self._too_large()
        unpacking = _unpacking(headers)
        num_seen = num_plain = 0
        clock = asyncio.get_running_loop().time
        end = clock() + MAX_BODY_S
        try:
            while incoming.more:
                piece = await incoming.next(min(self._max_silence_s, end - clock()))
                num_seen += len(piece)
                if unpacking and num_seen <= self._limit:
                    piece = await asyncio.to_thread(unpacking.feed, piece, self._limit - num_plain)
                num_plain += len(piece)
                if max(num_seen, num_plain) > self._limit:
                    raise self._too_large()
                if self._num_held + len(piece) > HELD_BODIES * self._limit:
                    raise BusyError("the scorer holds as many requests as it has memory for", code="busy_memory")
                self._num_held += len(piece)
                held.num_bytes += len(piece)
                held.pieces.append(piece)
            if unpacking:
                unpacking.finish()
        except CorruptBodyError as error:
            raise RequestError(str(error), code="corrupt_body", status=400) from None
        except TimeoutError:
            raise RequestError(
                f"the body did not come: nothing for {self._max_silence_s:.0f} s, or not all in {MAX_BODY_S:.0f} s",
                code="body_timeout",
                status=408,
            ) from None

    async def _pass_on(self, held: _Held, scope: Scope, receive: Receive, send: Send) -> None:
        whole: list[Message] = [{"type": "http.request", "body": held.taken(), "more_body": False}]

        async def received() -> Message:
            return whole.pop() if whole else await receive()

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._release(held)
                MutableHeaders(scope=message)["Accept-Encoding"] = ACCEPTED
            await send(message)

        headers = [pair for pair in scope["headers"] if pair[0] not in (b"content-encoding", b"content-length")]
        await self._app({**scope, "headers": headers}, received, telling)

    def _release(self, held: _Held) -> None:
        self._num_held -= held.num_bytes
        held.num_bytes = 0
        held.pieces.clear()

    def _too_large(self) -> RequestError:
        return RequestError(
            f"the body is larger than the {self._limit} bytes that this scorer takes, unpacked: split the request",
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
