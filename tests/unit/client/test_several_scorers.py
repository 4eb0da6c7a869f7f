"""A client of two scorers, one of which fails: the other does the work, or the error says which failed and why."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from tests.hand_clock import HandClock

from icm_client import AccessError, ScorerClient, ScoreRequest, ScorerError, UnavailableError
from icm_client.http.retry import RetryPolicy

A, B = "http://a:8000", "http://b:8000"
REQUEST = ScoreRequest(prompts=["a", "b", "c"], labels=[" x", " y"])
ROW = [-1.0, -2.0]
INFO = {"name": "m", "digest": "d", "dtype": "float32", "engine": "e", "max_prompt_tokens": 100, "adds_bos": False}

Answer = Callable[[httpx.Request], httpx.Response]


class Cut(httpx.AsyncByteStream):
    """A stream with these lines, after which the connection breaks at `then_s` of the clock."""

    def __init__(self, clock: HandClock, *lines: dict[str, object], then_s: float):
        self._clock, self._lines, self._then_s = clock, lines, then_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            yield json.dumps(line).encode() + b"\n"
        self._clock.now += self._then_s
        raise httpx.ReadError("connection reset")


class Two:
    """A transport to both; `b` answers as it should, and `a` as `does` says."""

    def __init__(self) -> None:
        self.clock, self.sizes = HandClock(), list[tuple[str, int]]()
        self.does: dict[str, dict[str, Answer]] = {"a": {}, "b": {}}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host, path = request.url.host, request.url.path
        if path == "/v1/score":
            self.sizes.append((host, len(json.loads(request.content)["prompts"])))
        for part, answer in self.does[host].items():
            if path.startswith(part):
                return answer(request)
        if path == "/v1/score":
            rows = [ROW] * len(json.loads(request.content)["prompts"])
            return httpx.Response(200, json={"logprobs": rows, "usage": {}, "model": INFO})
        return httpx.Response(200, json=INFO if path == "/v1/model" else {})

    def client(self, patience_s: float = 0.0) -> ScorerClient:
        policy = RetryPolicy(patience_s=patience_s, unreachable_s=patience_s, first_wait_s=0.001)
        return ScorerClient(f"{A},{B}", retry=policy, transport=httpx.MockTransport(self), clock=self.clock)

    def started(self, *rows: int) -> list[dict[str, object]]:
        """The lines of an answer that has begun."""
        start = {"kind": "start", "model": INFO, "num_prompts": 3}
        return [start, *({"kind": "rows", "prompts": [row], "logprobs": [ROW]} for row in rows)]

    def breaks(self, *rows: int, after_s: float) -> httpx.Response:
        stream = Cut(self.clock, *self.started(*rows), then_s=after_s)
        return httpx.Response(200, headers={"Content-Type": "application/x-ndjson"}, stream=stream)


@pytest.fixture
def two() -> Two:
    return Two()


def home_of(url: str) -> ScoreRequest:
    """A request of an experiment that the scorer at `url` has."""
    fronts = ScorerClient(f"{A},{B}")._fronts._fronts
    names = (f"e{number}" for number in range(100))
    mine = next(name for name in names if max(fronts, key=lambda front: front.weight(name)).url == url)
    return REQUEST.model_copy(update={"experiment": mine})


@pytest.mark.parametrize("patience_s", [0.0, 300.0])
@pytest.mark.parametrize("rows", [(), (1,)])
async def test_one_that_dies_after_a_long_time_is_replaced(two: Two, patience_s: float, rows: tuple[int, ...]) -> None:
    """Longer than patience lasts: it counts from the failure, and none is needed to ask another one."""
    two.does["a"]["/v1/score"] = lambda _: two.breaks(*rows, after_s=4000.0)
    async with two.client(patience_s) as client:
        answer = await client.score(home_of(A))
    assert answer.logprobs == [ROW] * 3
    assert two.sizes == [("a", 3), ("b", 3 - len(rows))]


async def test_a_client_of_each_asks_it_first_whatever_the_experiment(two: Two) -> None:
    async with two.client() as client:
        first, second = client.each()
        for request in (home_of(A), home_of(B)):
            await first.score(request)
            await second.score(request)
        assert [host for host, _ in two.sizes] == ["a", "b", "a", "b"]
        two.does["a"]["/"] = lambda _: httpx.Response(503)
        assert client.up() == [0, 1]
        assert (await first.score(home_of(A))).logprobs == [ROW] * 3
        assert client.up() == [1]
    assert [host for host, _ in two.sizes[4:]] == ["a", "b"]


async def test_each_is_asked_once_before_the_client_gives_up_and_the_error_names_all(two: Two) -> None:
    for host in "ab":
        two.does[host]["/v1/score"] = lambda _: two.breaks(after_s=4000.0)
    async with two.client() as client:
        with pytest.raises(UnavailableError, match="none of 2 scorers answers") as raised:
            await client.score(home_of(A))
    assert two.sizes == [("a", 3), ("b", 3)]
    assert all(f"{url}: connection reset" in raised.value.message for url in (A, B))


async def test_one_that_accepts_connections_but_answers_nothing_is_left_alone(two: Two) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        if request.url.host == "a":
            await asyncio.sleep(3600)
        return await two(request)

    transport = httpx.MockTransport(handle)
    async with ScorerClient(f"{A},{B}", retry=RetryPolicy(patience_s=0.0), transport=transport) as client:
        async with asyncio.timeout(30):
            await client.wait_ready(0.0)
            assert (await client.score(home_of(A))).logprobs == [ROW] * 3
        (note,) = client.notes
    assert note.startswith(f"{A} is not used")
    assert "no answer within 1 s" in note


async def test_the_time_until_a_scorer_is_ready_and_says_its_model_is_limited_as_a_whole(two: Two) -> None:
    async def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            two.clock.now += 300.0
        else:
            await asyncio.sleep(1.5)  # one second is left
        return await two(request)

    async with ScorerClient(A, transport=httpx.MockTransport(handle), clock=two.clock) as client:
        with pytest.raises(UnavailableError, match="within 300 s"):
            await client.wait_ready(300.0)


async def test_a_key_that_is_valid_on_one_only_is_an_error_that_names_the_other(two: Two) -> None:
    body = {"error": {"code": "wrong_key", "message": "invalid API key"}}
    two.does["a"]["/v1/"] = lambda _: httpx.Response(401, json=body)
    async with two.client() as client:
        with pytest.raises(AccessError, match=f"^{A}: invalid API key .*same key"):
            await client.wait_ready(300.0)


async def test_garbage_is_an_error_that_names_its_scorer(two: Two) -> None:
    two.does["a"]["/v1/model"] = lambda _: httpx.Response(200, content="<html>welcome</html>")
    async with two.client() as client:
        with pytest.raises(ScorerError, match=f"^{A}: .*is it an icm-server of this version"):
            await client.wait_ready(300.0)
    del two.does["a"]["/v1/model"]
    wrong = {"logprobs": [[-1.0]] * 3, "usage": {}, "model": INFO}
    two.does["a"]["/v1/score"] = lambda _: httpx.Response(200, json=wrong)
    async with two.client() as client:
        with pytest.raises(ScorerError, match=f"^{A}: .*is not 2 log-probabilities"):
            await client.score(home_of(A))


@pytest.mark.parametrize("status", [403, 404, 500, 502])
async def test_a_proxy_whose_scorer_is_gone_is_as_good_as_gone(two: Two, status: int) -> None:
    two.does["a"]["/"] = lambda _: httpx.Response(status, content="<html>oops</html>")
    async with two.client() as client:
        await client.wait_ready(0.0)
        assert (await client.score(home_of(A))).logprobs == [ROW] * 3
        (note,) = client.notes
    assert note.startswith(f"{A} is not used")
    assert f"answered {status}" in note


async def test_a_machine_that_vanishes_is_noticed_by_the_system() -> None:
    """Without a sign of life of the other machine, the system breaks a connection on which an answer is waited for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = json.dumps(INFO).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with (
        ScorerClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client,
        client._fronts._fronts[0].exchange._connection.send("GET", "/v1/model") as response,
    ):
        connection = response.extensions["network_stream"].get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000  # of what was just sent
    server.close()
