"""Bodies that a route reads piece by piece: their pace, and what is left of them when the route has answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from icm_client.contract.errors import RequestError
from icm_server.config import ConnectionLimits
from icm_server.middleware.incoming import Drain
from icm_server.middleware.streamed_body import pass_on_pieces

LIMITS = ConnectionLimits(body_silence_s=0.02)


async def run(app: Any, pieces: list[bytes], *, is_whole: bool = True, headers: Any = ()) -> tuple[list[Message], int]:
    """What is sent, and how many pieces the client still has."""
    left, sent = list(pieces), []

    async def receive() -> Message:
        if not left:
            await asyncio.sleep(10)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not is_whole}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"content-length", b"9"), *headers]}
    await pass_on_pieces(app, LIMITS, scope, receive, send, Drain(4, 0.1))
    return sent, len(left)


async def answer_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 413, "headers": []})


async def test_pieces_come_as_they_are_sent() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            seen.append(message["body"])
        await answer_at_once(scope, receive, send)

    sent, _ = await run(app, [b"a", b"b", b""])
    assert seen == [b"a", b"b", b""]
    assert sent[0]["headers"] == []


async def test_a_body_that_stalls_is_given_up() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            await receive()

    with pytest.raises(RequestError, match="arrives too slowly") as raised:
        await run(app, [b"a"], is_whole=False)
    assert raised.value.status == 408


@pytest.mark.parametrize(
    ("pieces", "headers", "left", "closes"),
    [
        ([b"a", b"b"], [], 0, False),
        ([b"abc"] * 5, [], 3, True),  # more than is worth reading
        ([b"abc"] * 5, [(b"expect", b"100-continue")], 5, True),  # nothing was sent yet
    ],
)
async def test_what_the_route_left_is_read_or_the_connection_closed(
    pieces: list[bytes], headers: Any, left: int, closes: bool
) -> None:
    sent, num_left = await run(answer_at_once, pieces, headers=headers)
    assert num_left == left
    assert sent[0]["headers"] == ([(b"connection", b"close")] if closes else [])
