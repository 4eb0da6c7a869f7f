"""Passes a body on piece by piece, for routes that write it to disk. The route limits its size."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icm_server.config import ConnectionLimits
from icm_server.middleware.body_pace import BodyPace
from icm_server.middleware.incoming import PATIENT, Drain, Incoming, discard


async def pass_on_pieces(
    app: ASGIApp, limits: ConnectionLimits, scope: Scope, receive: Receive, send: Send, drain: Drain = PATIENT
) -> None:
    """Runs the application, whose `receive` raises RequestError (408) for a body that comes too slowly.

    Before its answer begins, the rest of a body that it did not read is discarded, within limits.
    """
    incoming = Incoming(receive)
    pace = BodyPace(incoming, limits)

    async def received() -> Message:
        if not incoming.more:
            return await receive()
        try:
            piece = await pace.next()
        except ConnectionError:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": incoming.more}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and incoming.more:
            try:
                await discard(incoming, scope, drain)
            except ConnectionError:
                incoming.more = False
            if incoming.more:
                MutableHeaders(scope=message)["Connection"] = "close"
        await send(message)

    await app(scope, received, sending)
