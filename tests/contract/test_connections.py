"""A scorer on real sockets: what strangers, slow callers and greedy ones can do to others, which is nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import socket
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from icm_server.auth.keys_file import add_key
from icm_server.config import ConnectionLimits
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app
from icm_server.middleware.access import Keyring
from icm_server.transport.http_server import HttpServer

pytestmark = pytest.mark.slow

LIMIT_S = 30.0
LARGE = 2**25
GOOD = json.dumps({"prompts": ["Word: salmon\nGroup:"], "labels": [" living", " object"]}).encode()


class Served(NamedTuple):
    app: FastAPI
    server: HttpServer
    port: int
    alice: str
    bob: str

    async def connect(self, begin: bytes = b"", address: str = "127.0.0.1") -> Caller:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0), limit=2**26)
        writer.write(begin)
        return Caller(reader, writer)

    async def once(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


class Answer(NamedTuple):
    status: int
    head: bytes
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


class Caller(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> Answer:
        async with asyncio.timeout(LIMIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return Answer(int(head.split()[1]), head, await self.reader.readexactly(length))

    async def is_closed(self) -> bool:
        """Reads to the end, however that comes."""
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(ConnectionError):
                await self.reader.read()
            return True

    async def is_open(self) -> bool:
        """Whether nothing comes for a moment, and it was not closed."""
        try:
            async with asyncio.timeout(0.05):
                return bool(await self.reader.read(1))
        except TimeoutError:
            return True
        except ConnectionError:
            return False


def request(method: str = "GET", path: str = "/healthz", *headers: str, key: str = "", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def serving(
    folder: Path, limits: ConnectionLimits, max_connections: int = 200, *, keys: bool = True, max_body: int = 2**20
) -> AsyncIterator[Served]:
    """A scorer, with one more path, whose answer is large."""

    async def make_engine() -> FakeEngine:
        return FakeEngine()

    alice, bob = (add_key(folder / "keys.yaml", name) for name in ("alice", "bob"))
    keyring = Keyring(folder / "keys.yaml") if keys else None
    app = create_app(make_engine, keyring=keyring, connections=limits, max_body_bytes=max_body)

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(LARGE))

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = HttpServer(app, limits, max_connections=max_connections, has_keys=keys)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(LIMIT_S):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await app.state.scoring.startup_ended.wait()
        yield Served(app, server, listener.getsockname()[1], alice, bob)
    finally:
        server.should_exit = server.force_exit = True
        await running


HALF = b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Never: en"
UNPACKED = 2**20


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/ping", "/v1/score", "/none"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_stranger_s_body_is_neither_waited_for_nor_counted(tmp_path: Path, method: str, path: str) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(UNPACKED)) + packer.flush(zlib.Z_SYNC_FLUSH)
    head = request(
        method, path, "Transfer-Encoding: chunked", "Content-Encoding: gzip", "Content-Type: application/json"
    )
    async with serving(tmp_path, ConnectionLimits(), max_body=UNPACKED) as served:
        strangers = [await served.connect(head + b"%x\r\n%b\r\n" % (len(bomb), bomb)) for _ in range(8)]
        victim = await served.connect(request("POST", "/v1/score", key=served.alice, body=GOOD))
        assert (await victim.answer()).status == 200
        for stranger in strangers:
            answer = await stranger.answer()
            is_open = path in ("/healthz", "/readyz", "/ping")
            assert answer.status == ((200 if method == "GET" else 405) if is_open else 401)
            assert b"connection: close" in answer.head.lower()
            assert await stranger.is_closed()


async def test_a_stranger_is_not_asked_for_a_body(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits()) as served:
        for path, status in (("/v1/score", 401), ("/healthz", 405)):
            caller = await served.connect(request("POST", path, "Content-Length: 9", "Expect: 100-continue"))
            assert (await caller.answer()).status == status  # and no 100 before it
        caller = await served.connect(
            request("POST", "/v1/score", "Content-Length: 9", "Expect: 100-continue", key=served.alice)
        )
        assert (await caller.reader.readline()).startswith(b"HTTP/1.1 100 ")


async def test_half_open_connections_lock_nobody_out(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits(max_per_address=150)) as served:
        victim = await served.connect(request("POST", "/v1/score", key=served.alice, body=GOOD))
        assert (await victim.answer()).status == 200
        strangers = []
        for number in range(500):
            begin = HALF if number % 2 else b""
            strangers.append(await served.connect(begin, f"127.0.0.{2 + number % 3}"))
            if number % 50 == 0:
                probe = await served.connect(request())
                assert (await probe.answer()).status == 200
                fresh = await served.connect(request("GET", "/v1/model", key=served.bob))
                assert (await fresh.answer()).status == 200
                assert len(served.server.registry) <= 200
        victim.writer.write(request("POST", "/v1/score", key=served.alice, body=GOOD))
        assert (await victim.answer()).status == 200
        assert served.server.registry.num_displaced >= 300
        for stranger in strangers:
            stranger.writer.close()


async def test_who_is_displaced_is_reported_unless_nothing_was_asked(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits(max_per_address=1)) as served:
        for begin, expected in ((HALF, b"HTTP/1.1 503 "), (b"", b""), (request(), b"")):
            caller = await served.connect(begin)
            if begin == request():
                assert (await caller.answer()).status == 200  # what came behind would be the next request's answer
            await served.once(lambda: len(served.server.registry) == 1)
            await asyncio.sleep(0.05)
            displaced = served.server.registry.num_displaced
            await served.connect(HALF)
            await served.once(lambda before=displaced: served.server.registry.num_displaced > before)  # type: ignore[misc]
            async with asyncio.timeout(LIMIT_S):
                assert (await caller.reader.read()).startswith(expected) if expected else not await caller.reader.read()


async def test_a_key_cannot_take_all_connections(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits(), max_connections=40) as served:
        greedy = [await served.connect(request("GET", "/v1/model", key=served.alice)) for _ in range(60)]
        answers = await asyncio.gather(*(each.answer() for each in greedy), return_exceptions=True)
        assert sum(isinstance(answer, Answer) and b"connection: close" not in answer.head for answer in answers) == 15
        other = [await served.connect(request("GET", "/v1/model", key=served.bob)) for _ in range(5)]
        for each in other:
            answer = await each.answer()
            assert answer.status == 200
            assert b"connection: close" not in answer.head
        assert (await (await served.connect(request())).answer()).status == 200


async def test_without_keys_whoever_has_asked_is_known(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits(), max_connections=40, keys=False) as served:
        known = [await served.connect(request("GET", "/v1/model")) for _ in range(20)]
        for each in known:
            assert (await each.answer()).status == 200
        for _ in range(100):
            await served.connect(HALF)
        for each in known:
            each.writer.write(request("POST", "/v1/score", body=GOOD))
            assert (await each.answer()).status == 200


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"GET /healthz", HALF])
async def test_headers_that_never_end_are_not_waited_for(tmp_path: Path, begin: bytes) -> None:
    async with serving(tmp_path, ConnectionLimits(header_s=0.2)) as served:
        caller = await served.connect(begin)
        if len(begin) > 2:
            answer = await caller.answer()
            assert (answer.status, answer.code) == (408, "headers")
        assert await caller.is_closed()
        again = await served.connect(request())
        assert (await again.answer()).status == 200
        again.writer.write(begin or b"\r\n")
        assert await again.is_closed()
        await served.once(lambda: len(served.server.registry) == 0)


async def test_headers_that_drip_are_not_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits(header_s=0.3)) as served:
        caller = await served.connect(b"GET /healthz HTTP/1.1\r\n")
        await served.once(lambda: len(served.server.registry) == 1)
        for number in range(1000):
            if not len(served.server.registry):
                break
            caller.writer.write(b"X-%d: 1\r\n" % (number % 10))
            await asyncio.sleep(0.02)
        assert number < 500
        assert await caller.is_closed()


FLOODS = {
    "one long header": [b"GET / HTTP/1.1\r\nX: ", b"x" * 2**16],
    "one long name": [b"GET / HTTP/1.1\r\n", b"x" * 2**16],
    "many headers": [b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 1000],
    "a long path": [b"GET /", b"x" * 2**16],
    "a long method": [b"", b"x" * 2**16],
    "trailers": [b"GET /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 1000],
    "one long trailer": [b"GET /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 2**16],
    "a chunk's extension": [b"GET /readyz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", b"x" * 2**16],
    "empty lines": [b"", b"\r\n" * 2**15],
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_headers_have_a_limit(tmp_path: Path, flood: list[bytes]) -> None:
    async with serving(tmp_path, ConnectionLimits()) as served:
        caller = await served.connect(flood[0])
        num_sent = 0
        with contextlib.suppress(ConnectionError):
            while num_sent < 2**23 and len(served.server.registry) + (num_sent == 0):
                caller.writer.write(flood[1])
                await caller.writer.drain()
                await asyncio.sleep(0)
                num_sent += len(flood[1])
        assert num_sent < 2**23
        assert await caller.is_closed()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431, "headers"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431, "headers"),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, "headers"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n", 400, "bad_http"),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_http"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_http"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_http"),
    ],
)
async def test_what_is_no_request_is_reported_in_the_shape_of_errors(
    tmp_path: Path, sent: bytes, status: int, code: str
) -> None:
    async with serving(tmp_path, ConnectionLimits()) as served:
        caller = await served.connect(sent)
        answer = await caller.answer()
        assert (answer.status, answer.code) == (status, code)
        assert await caller.is_closed()


async def test_as_many_headers_as_may_be_are_taken(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits()) as served:
        many = [f"X-{number}: {'y' * 250}" for number in range(98)]
        caller = await served.connect(request("GET", "/healthz", *many))
        assert (await caller.answer()).status == 200


async def test_requests_sent_ahead_are_answered_up_to_a_number(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits()) as served:
        caller = await served.connect(request() * 5)
        for _ in range(5):
            assert (await caller.answer()).status == 200
        flooding = await served.connect(request() * 500)
        assert await flooding.is_closed()
        assert (await (await served.connect(request())).answer()).status == 200


async def test_nonsense_behind_a_request_is_not_answered_in_the_midst_of_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path, ConnectionLimits()) as served:
        caller = await served.connect(request("GET", "/large", key=served.alice) + b"\x00nonsense\r\n\r\n")
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(ConnectionError):
                assert b"bad_http" not in await caller.reader.read()


async def test_an_upgrade_is_not_made(tmp_path: Path) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eHh4eHh4")
    async with serving(tmp_path, ConnectionLimits()) as served:
        for key, status in (("", 401), (served.alice, 404)):
            caller = await served.connect(request("GET", "/ws", *upgrade, key=key))
            answer = await caller.answer()
            assert answer.status == status
            assert b"connection: close" in answer.head.lower()
            assert await caller.is_closed()


async def test_an_answer_that_is_not_taken_is_given_up(tmp_path: Path) -> None:
    limits = ConnectionLimits(answer_stall_s=0.3)
    async with serving(tmp_path, limits) as served:
        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
            narrow.connect(("127.0.0.1", served.port))
            narrow.sendall(request("GET", "/large", key=served.alice))
            await served.once(lambda: len(served.server.registry) == 1)
            await served.once(lambda: len(served.server.registry) == 0)


async def test_a_stream_that_is_taken_too_slowly_is_given_up(tmp_path: Path) -> None:
    """Also if its caller takes enough now and then that more can be written."""
    limits = ConnectionLimits(answer_stall_s=1.0, min_bytes_per_s=10**7)
    async with serving(tmp_path, limits) as served:

        @served.app.get("/endless")
        async def endless() -> StreamingResponse:
            return StreamingResponse(bytes(2**15) for _ in itertools.repeat(None))

        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
            narrow.connect(("127.0.0.1", served.port))
            narrow.sendall(request("GET", "/endless", key=served.alice))
            await served.once(lambda: len(served.server.registry) == 1)
            narrow.setblocking(False)
            async with asyncio.timeout(LIMIT_S):
                while len(served.server.registry):
                    with contextlib.suppress(BlockingIOError, ConnectionError):
                        narrow.recv(2**16)
                    await asyncio.sleep(0.02)


async def test_an_answer_that_is_taken_slowly_comes_whole(tmp_path: Path) -> None:
    limits = ConnectionLimits(answer_stall_s=0.3)
    async with serving(tmp_path, limits) as served:
        caller = await served.connect(request("GET", "/large", "Connection: close", key=served.alice))
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20):
            caller.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.02)
            caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.08)
        caller.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await caller.answer()).body) == LARGE


async def test_it_goes_on_when_there_is_no_file_to_be_had(tmp_path: Path) -> None:
    """Files that others open are no reason to stop taking connections for good."""
    async with serving(tmp_path, ConnectionLimits()) as served, contextlib.AsyncExitStack() as held:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        strangers = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(20)]
        for each in strangers:
            held.callback(each.close)
        await served.once(lambda: len(served.server.registry) == 20)
        waiting = socket.socket()
        held.callback(waiting.close)
        lowest = socket.socket()
        number = lowest.fileno()
        lowest.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
        try:
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", served.port))
            await served.once(lambda: served.server.registry.num_displaced > 0)
            await served.once(lambda: waiting.getsockname() in _callers(served))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        waiting.setblocking(True)
        waiting.sendall(request())
        await asyncio.sleep(0)
        assert (await asyncio.to_thread(waiting.recv, 12)) == b"HTTP/1.1 200"


def _callers(served: Served) -> set[Any]:
    return {connection.client for connection in served.server.server_state.connections}


async def test_a_slow_body_is_given_up_and_others_are_not_refused(tmp_path: Path) -> None:
    """Unpacked to the limit, and then hardly anything more: they hold their own key's share, and not for long."""
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(UNPACKED)) + packer.flush(zlib.Z_SYNC_FLUSH)
    limits = ConnectionLimits(body_grace_s=0.5, min_bytes_per_s=10**6)
    async with serving(tmp_path, limits, max_body=UNPACKED) as served:
        headers = ("Transfer-Encoding: chunked", "Content-Encoding: gzip", "Content-Type: application/json")
        head = request("POST", "/v1/score", *headers, key=served.alice)
        slow = [await served.connect(head + b"%x\r\n%b\r\n" % (len(bomb), bomb)) for _ in range(8)]
        answering = [asyncio.create_task(each.answer()) for each in slow]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}") as http:
            headers = {"Authorization": f"Bearer {served.bob}", "Content-Type": "application/json"}
            for _ in range(20):
                assert (await http.post("/v1/score", content=GOOD, headers=headers)).status_code == 200
                for each, its in zip(slow, answering, strict=True):
                    if not its.done():
                        each.writer.write(b"5\r\n\0\0\0\xff\xff\r\n")
                await asyncio.sleep(0.05)
        assert {(await its).code for its in answering} == {"busy_memory", "body_timeout"}


async def test_a_request_sent_ahead_may_have_its_body_still_to_come(tmp_path: Path) -> None:
    first = request("POST", "/v1/score", key="KEY", body=GOOD)
    async with serving(tmp_path, ConnectionLimits()) as served:
        key = served.alice.encode()
        both = first.replace(b"KEY", key) * 2
        caller = await served.connect(both[:-10])
        assert (await caller.answer()).status == 200
        caller.writer.write(both[-10:])
        assert (await caller.answer()).status == 200


async def test_half_a_request_sent_ahead_costs_no_answer(tmp_path: Path) -> None:
    """The time for its headers begins when there is nothing else to wait for."""
    async with serving(tmp_path, ConnectionLimits(header_s=0.2)) as served:

        @served.app.get("/slow")
        async def slow() -> Response:
            await asyncio.sleep(1.5)  # three looks at least
            return Response(b"done")

        whole = request(path="/slow", key=served.alice)
        caller = await served.connect(whole + whole[:30])
        assert (await caller.answer()).body == b"done"
        assert (await caller.answer()).code == "headers"


async def test_who_goes_in_the_midst_of_a_body_was_answered_nothing(tmp_path: Path) -> None:
    """Whoever watches for 500s would be woken by every caller that was stopped."""
    async with serving(tmp_path, ConnectionLimits()) as served:
        caller = await served.connect(request("POST", "/v1/score", key=served.alice, body=GOOD)[:-10])
        await served.once(lambda: bool(served.server.server_state.tasks))
        caller.writer.transport.abort()
        await served.once(lambda: not served.server.server_state.tasks)
        found = await (await served.connect(request(path="/metrics", key=served.alice))).answer()
    assert b'icm_http_responses_total{status="' not in found.body


async def test_who_goes_is_missed_also_where_another_request_was_sent_ahead(tmp_path: Path) -> None:
    gone = asyncio.Event()
    async with serving(tmp_path, ConnectionLimits()) as served:

        @served.app.get("/waits")
        async def waits(asked: Request) -> Response:
            while (await asked.receive())["type"] != "http.disconnect":
                pass
            gone.set()
            return Response()

        caller = await served.connect(request(path="/waits", key=served.alice) + request(key=served.alice))
        await served.once(lambda: bool(served.server.server_state.tasks))
        caller.writer.transport.abort()
        async with asyncio.timeout(LIMIT_S):
            await gone.wait()
