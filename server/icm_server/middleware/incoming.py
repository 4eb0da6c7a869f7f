"""Reads a request's body as it arrives, and rejects requests before their bodies are read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from icm_client.contract.errors import IcmError
from icm_server.middleware.errors import error_response


class Drain(NamedTuple):
    """How much of a rejected body is read and discarded: a client that is still sending does not see the answer."""

    num_bytes: int
    seconds: float
    """The time limit; reading ends earlier if nothing arrives."""


PATIENT = Drain(2**28, 10.0)
"""For clients that have shown a key, or need none."""
FOR_STRANGERS = Drain(2**20, 2.0)
NOTHING = Drain(0, 0.0)
SILENCE_S = 1.0
"""A client that sends nothing for this long has stopped sending."""


class Incoming:
    """The pieces of one body."""

    def __init__(self, receive: Receive):
        self._receive = receive
        self.begun = False
        """Whether a piece was requested: before that, a client that waits for `100 Continue` sends nothing."""
        self.more = True
        """Whether there are more pieces."""

    async def next(self, timeout_s: float) -> bytes:
        """The next piece. Raises TimeoutError, or ConnectionError if the client disconnected."""
        self.begun = True
        message = await asyncio.wait_for(self._receive(), timeout_s)
        if message["type"] != "http.request":
            self.more = False
            raise ConnectionError
        self.more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


def announces_body(scope: Scope) -> bool:
    """Whether the request's headers announce a body."""
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip() not in ("", "0")


async def refuse(
    error: IcmError,
    headers: Iterable[tuple[str, str]],
    incoming: Incoming,
    scope: Scope,
    receive: Receive,
    send: Send,
    drain: Drain = PATIENT,
) -> None:
    """Answers with the error after reading the rest of the body, within limits. Sends no `100 Continue`."""
    try:
        await discard(incoming, scope, drain)
    except ConnectionError:
        return
    closing = [("Connection", "close")] if incoming.more else []
    await error_response(error, [*headers, *closing])(scope, receive, send)


async def discard(incoming: Incoming, scope: Scope, drain: Drain = PATIENT) -> None:
    """Reads the rest of the body, within limits, unless the client waits for a word before it sends one.

    `incoming.more` then says whether the connection has to be closed. Raises ConnectionError if the client has
    disconnected.
    """
    waits_for_word = Headers(scope=scope).get("expect", "").strip().lower() == "100-continue"
    if not incoming.begun and not announces_body(scope):
        incoming.more = False
    elif incoming.begun or not waits_for_word:
        await _drain(incoming, drain)


async def _drain(incoming: Incoming, drain: Drain) -> None:
    clock = asyncio.get_running_loop().time
    num_bytes, end = 0, clock() + drain.seconds
    try:
        while incoming.more and num_bytes < drain.num_bytes:
            num_bytes += len(await incoming.next(min(SILENCE_S, end - clock())))
    except TimeoutError:
        return
