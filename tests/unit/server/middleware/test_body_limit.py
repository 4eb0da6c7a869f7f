"""Bodies by the piece, as a server hands them over: limits in size, in time, and of all together."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from icm_server.auth.tenant import Tenant
from icm_server.config import ConnectionLimits
from icm_server.middleware.body_limit import HELD_BODIES, BodyLimit
from icm_server.middleware.incoming import Drain

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


async def ask(app: Any, caller: Caller, *headers: tuple[str, str], **scope: Any) -> Answer | None:
    """The answer, if there is one; `scope` has more of the request."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    whole = {"type": "http", "method": "POST", "path": "/v1/score", "headers": raw, **scope}
    await asyncio.wait_for(app(whole, caller.receive, send), 30)
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


async def test_an_endless_body_is_read_no_further_than_needed() -> None:
    caller = Caller(*[b"x" * 500] * 500, ends=False)
    answer = await ask(BodyLimit(Inner(), LIMIT, drain=Drain(10_000, 10.0)), caller)
    assert answer is not None
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert caller.num_taken < 30


async def test_half_a_body_is_not_waited_for() -> None:
    inner = Inner()
    limits = ConnectionLimits(body_silence_s=0.1)
    answer = await ask(BodyLimit(inner, LIMIT, limits=limits), Caller(b"{", ends=False))
    assert answer is not None
    assert (answer.status, answer.code, answer.headers["connection"]) == (408, "body_timeout", "close")
    assert not inner.scopes


async def test_a_body_that_drips_is_not_waited_for_either() -> None:
    pieces: list[bytes | float | None] = [b"x", 0.02] * 400
    limits = ConnectionLimits(body_grace_s=0.2)
    answer = await ask(BodyLimit(Inner(), LIMIT, limits=limits), Caller(*pieces, ends=False))
    assert answer is not None
    assert (answer.status, answer.code) == (408, "body_timeout")


async def test_a_body_may_take_as_long_as_its_bytes_may() -> None:
    pieces: list[bytes | float | None] = [*[b"x" * 50, 0.02] * 19, b"x" * 50]
    limits = ConnectionLimits(body_grace_s=0.2, min_bytes_per_s=500)
    answer = await ask(BodyLimit(Inner(), LIMIT, limits=limits), Caller(*pieces))
    assert answer is not None
    assert answer.status == 200


async def test_what_a_body_unpacks_to_is_no_progress() -> None:
    """32 KB that unpack to 32 MB would be two hours' worth of bytes; empty blocks behind them are none."""
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(2**25)) + packer.flush(zlib.Z_SYNC_FLUSH)
    pieces: list[bytes | float | None] = [bomb, *[packer.flush(zlib.Z_FULL_FLUSH) or b"\0\0\0\xff\xff", 0.02] * 400]
    limits = ConnectionLimits(body_grace_s=0.2, min_bytes_per_s=10**6)
    app = BodyLimit(Inner(), 2**25, limits=limits)
    answer = await ask(app, Caller(*pieces, ends=False), ("Content-Encoding", "gzip"))
    assert answer is not None
    assert (answer.status, answer.code) == (408, "body_timeout")


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


async def test_a_key_gets_no_more_than_its_share_of_what_is_held() -> None:
    inner = Inner()
    inner.hold.clear()
    app = BodyLimit(inner, LIMIT, shared=True)

    def of(name: str) -> dict[str, Any]:
        return {"state": {"tenant": Tenant(name=name)}}

    held = [asyncio.create_task(ask(app, Caller(b"x" * LIMIT), **of("greedy"))) for _ in range(HELD_BODIES // 2)]
    for _ in held:
        await inner.begun.acquire()
    answer = await ask(app, Caller(b"x"), **of("greedy"))
    assert answer is not None
    assert (answer.status, answer.code) == (429, "busy_memory")
    held.append(asyncio.create_task(ask(app, Caller(b"x" * LIMIT), **of("other"))))
    await asyncio.wait_for(inner.begun.acquire(), 30)
    inner.hold.set()
    assert all(answer is not None and answer.status == 200 for answer in await asyncio.gather(*held))


async def test_bodies_that_are_unpacked_at_once_take_no_more_than_their_share() -> None:
    megabyte = 2**20
    bomb = gzip.compress(bytes(32 * megabyte - 1000))
    inner = Inner()
    inner.hold.clear()
    app = BodyLimit(inner, 32 * megabyte, shared=True)
    greedy = {"state": {"tenant": Tenant(name="greedy")}}
    tracemalloc.start()
    try:
        packed = ("Content-Encoding", "gzip")
        asking = {asyncio.create_task(ask(app, Caller(bomb), packed, **greedy)) for _ in range(12)}
        refused: set[asyncio.Task[Answer | None]] = set()
        while len(refused) < 10:  # two have all of the share
            done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        assert tracemalloc.get_traced_memory()[1] < (64 + 32 + 32) * megabyte  # its share, one made whole, a turn
    finally:
        tracemalloc.stop()
    inner.hold.set()
    assert {answer.status for answer in await asyncio.gather(*asking) if answer is not None} == {200}
    assert {answer.status for answer in await asyncio.gather(*refused) if answer is not None} == {429}


async def test_who_sends_one_packed_body_does_not_wait_behind_another_key_s_many() -> None:
    body = gzip.compress(bytes(2**20))
    inner = Inner()
    app = BodyLimit(inner, 2**25, shared=True)
    names = [*["greedy"] * 40, "other"]
    asking = (
        ask(app, Caller(body), ("Content-Encoding", "gzip"), state={"tenant": Tenant(name=name)}) for name in names
    )
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers if answer is not None} == {200}
    order = [scope["state"]["tenant"].name for scope in inner.scopes]
    assert order.index("other") < len(names) // 2


@pytest.mark.parametrize(("method", "path"), [("POST", "/healthz"), ("GET", "/v1/score"), ("DELETE", "/none")])
@pytest.mark.parametrize("header", [("Content-Length", "99"), ("Transfer-Encoding", "chunked")])
async def test_a_body_where_none_belongs_is_not_read(method: str, path: str, header: tuple[str, str]) -> None:
    inner, caller = Inner(), Caller(b"x" * 99, ends=False)
    app = BodyLimit(inner, LIMIT, paths={"/v1/score"})
    answer = await ask(app, caller, header, ("Content-Encoding", "gzip"), method=method, path=path)
    assert answer is not None
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"", "close")
    assert caller.num_taken == 0


async def test_who_waits_for_a_word_is_refused_before_a_body_is_asked_for() -> None:
    caller = Caller(b"x" * 2000)
    answer = await ask(BodyLimit(Inner(), LIMIT), caller, ("Content-Length", "2000"), ("Expect", "100-continue"))
    assert answer is not None
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert caller.num_taken == 0
