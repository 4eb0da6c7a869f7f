"""A request's body as it arrives, and how a request is refused before its body has been read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from icm_client.errors import IcmError
from icm_server.http_errors import error_response

DRAIN_BYTES, DRAIN_S = 2**28, 10.0
"""How much of a refused body is read and forgotten: a caller that is still sending does not see the answer."""


class Incoming:
    """The pieces of one body."""

    def __init__(self, receive: Receive):
        self._receive = receive
        self.more = True
        """Whether there is more to come."""

    async def next(self, timeout_s: float) -> bytes:
        """The next piece. Raises TimeoutError, and ConnectionError if the caller has gone."""
        message = await asyncio.wait_for(self._receive(), timeout_s)
        if message["type"] != "http.request":
            self.more = False
            raise ConnectionError
        self.more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


async def refuse(
    error: IcmError, headers: Mapping[str, str], incoming: Incoming, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answers with the error, once what is still being sent has been read, within limits."""
    try:
        await _drain(incoming)
    except ConnectionError:
        return
    closing = {"Connection": "close"} if incoming.more else {}
    await error_response(error, {**headers, **closing})(scope, receive, send)


async def _drain(incoming: Incoming) -> None:
    clock = asyncio.get_running_loop().time
    num_bytes, end = 0, clock() + DRAIN_S
    try:
        while incoming.more and num_bytes < DRAIN_BYTES:
            num_bytes += len(await incoming.next(end - clock()))
    except TimeoutError:
        return
