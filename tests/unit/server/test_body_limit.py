"""Bodies by the piece, as a server hands them over: limits in size, in time, and of all together."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from icm_server import body_limit, incoming
from icm_server.body_limit import HELD_BODIES, BodyLimit

LIMIT = 1000


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


class Inner:
    """An application that answers with the body it got; `hold` keeps it from answering, `begun` counts what it got."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.begun = asyncio.Semaphore(0)
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        message = await receive()
        assert not message["more_body"]
        self.begun.release()
        await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})


class Caller:
    """Sends pieces; a number is a pause in seconds, None hangs up."""

    def __init__(self, *pieces: bytes | float | None, ends: bool = True):
        self._pieces, self._ends = list(pieces), ends
        self.num_taken = 0

    async def receive(self) -> Any:
        if not self._pieces:
            await asyncio.Event().wait()
        piece = self._pieces.pop(0)
        if isinstance(piece, float):
            await asyncio.sleep(piece)
            return await self.receive()
        if piece is None:
            return {"type": "http.disconnect"}
        self.num_taken += 1
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or not self._ends}


async def ask(app: Any, caller: Caller, *headers: tuple[str, str]) -> Answer | None:
    """The answer, if there is one."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    await asyncio.wait_for(app({"type": "http", "headers": raw}, caller.receive, send), 30)
    if not sent:
        return None
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(message["body"] for message in sent[1:]))


async def test_a_body_comes_whole_and_plain() -> None:
    inner = Inner()
    content = gzip.compress(b"x" * 999)
    answer = await ask(
        BodyLimit(inner, LIMIT), Caller(content[:5], b"", content[5:]), ("Content-Encoding", "gzip"), ("A", "b")
    )
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"x" * 999)
    assert answer.headers["accept-encoding"] == "zstd, gzip"
    assert inner.scopes[0]["headers"] == [(b"a", b"b")]


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
async def test_a_body_of_exactly_the_limit(encoding: str) -> None:
    answer = await ask(BodyLimit(Inner(), LIMIT), Caller(b"x" * LIMIT), ("Content-Encoding", encoding))
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize(
    ("pieces", "headers", "status", "code"),
    [
        ([b"x" * 600, b"x" * 401], [], 413, "body_too_large"),
        ([b""], [("Content-Length", "1001")], 413, "body_too_large"),
        ([b""], [("Content-Length", "9" * 5000)], 413, "body_too_large"),
        ([gzip.compress(b"x" * 1001)], [("Content-Encoding", "x-gzip")], 413, "body_too_large"),
        ([gzip.compress(b"x" * 50)[:-1]], [("Content-Encoding", "gzip")], 400, "corrupt_body"),
        ([b"{}"], [("Content-Encoding", "zstd")], 400, "corrupt_body"),
        ([b"{}"], [("Content-Encoding", "br")], 415, "unsupported_encoding"),
        ([b"{}"], [("Content-Encoding", "gzip, gzip")], 415, "unsupported_encoding"),
    ],
)
async def test_what_is_refused(pieces: list[bytes], headers: Sequence[tuple[str, str]], status: int, code: str) -> None:
    inner = Inner()
    answer = await ask(BodyLimit(inner, LIMIT), Caller(*pieces), *headers)
    assert answer is not None
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["accept-encoding"] == "zstd, gzip"
    assert "connection" not in answer.headers
    assert not inner.scopes


async def test_a_length_that_is_no_number_is_not_believed() -> None:
    answer = await ask(BodyLimit(Inner(), LIMIT), Caller(b"x"), ("Content-Length", "\xb2"))
    assert answer is not None
    assert answer.status == 200


async def test_a_refused_body_is_read_to_its_end_but_not_kept() -> None:
    caller = Caller(*[b"x" * 500] * 50)
    answer = await ask(BodyLimit(Inner(), LIMIT), caller)
    assert answer is not None
    assert answer.status == 413
    assert caller.num_taken == 50


async def test_an_endless_body_is_read_no_further_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "DRAIN_BYTES", 10_000)
    caller = Caller(*[b"x" * 500] * 500, ends=False)
    answer = await ask(BodyLimit(Inner(), LIMIT), caller)
    assert answer is not None
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert caller.num_taken < 30


async def test_half_a_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "DRAIN_S", 0.05)
    inner = Inner()
    answer = await ask(BodyLimit(inner, LIMIT, max_silence_s=0.1), Caller(b"{", ends=False))
    assert answer is not None
    assert (answer.status, answer.code, answer.headers["connection"]) == (408, "body_timeout", "close")
    assert not inner.scopes


async def test_a_body_that_drips_is_not_waited_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "DRAIN_S", 0.05)
    monkeypatch.setattr(body_limit, "MAX_BODY_S", 0.3)
    pieces: list[bytes | float | None] = [b"x", 0.05] * 400
    answer = await ask(BodyLimit(Inner(), LIMIT, max_silence_s=10.0), Caller(*pieces, ends=False))
    assert answer is not None
    assert answer.status == 408


async def test_a_caller_who_hangs_up_is_not_answered() -> None:
    inner = Inner()
    assert await ask(BodyLimit(inner, LIMIT), Caller(b"x", None)) is None
    assert await ask(BodyLimit(inner, LIMIT), Caller(b"x" * 2000, None), ("Content-Length", "3000")) is None
    assert not inner.scopes


async def test_all_bodies_together_are_limited_while_they_are_held() -> None:
    inner = Inner()
    inner.hold.clear()
    app = BodyLimit(inner, LIMIT)
    held = [asyncio.create_task(ask(app, Caller(b"x" * LIMIT))) for _ in range(HELD_BODIES)]
    for _ in held:
        await inner.begun.acquire()
    for _ in range(3):  # what is refused takes no room
        answer = await ask(app, Caller(b"x" * 600))
        assert answer is not None
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    inner.hold.set()
    assert all(answer is not None and answer.status == 200 for answer in await asyncio.gather(*held))
    answer = await ask(app, Caller(b"x" * LIMIT))
    assert answer is not None
    assert answer.status == 200
