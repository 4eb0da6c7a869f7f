"""Scorers that answer what they like, on real sockets: each call ends in our error, soon, and in little memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icm_client import IcmError, ScorerClient, ScoreRequest, ScorerError, UnavailableError
from icm_client.contract.wire import MAX_ADAPTERS
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.retry import RetryPolicy

QUICK = RetryPolicy(patience_s=0.0, busy_patience_s=0.0)
REQUEST = ScoreRequest(prompts=["a", "b", "c"], labels=[" x", " y"])
INFO: dict[str, Any] = {
    "name": "m", "digest": "d", "dtype": "float32", "engine": "e", "max_prompt_tokens": 100, "adds_bos": False
}  # fmt: skip
START = {"kind": "start", "model": INFO, "num_prompts": 3}
ROWS = {"kind": "rows", "prompts": [0, 1, 2], "logprobs": [[-1.0, -2.0]] * 3}
END = {"kind": "end", "usage": {"computed_tokens": 7}}
STREAM = "Content-Type: application/x-ndjson\r\n"
PACKED = "Content-Encoding: gzip\r\n"


def lines(*of: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in of)


def bomb(of: bytes, num_mb: int) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(num_mb):
        yield packer.compress(of * (2**20 // len(of)))
    yield packer.flush()


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


@contextlib.asynccontextmanager
async def answering(
    headers: str, body: Callable[[], Iterator[bytes]], status: int = 200, pause_s: float = 0.0
) -> AsyncIterator[str]:
    """The URL of a server that answers every request so, body pieces as fast as they are read, or with pauses."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readline() not in (b"\r\n", b""):
                pass
            writer.write(f"HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}\r\n".encode())
            for piece in body():
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def failures(url: str, read_timeout_s: float = 20.0) -> list[IcmError]:
    """How each call ends."""
    found = []
    client = ScorerClient(url, retry=QUICK, read_timeout_s=read_timeout_s)
    endpoint = EndpointHttp(url, retry=QUICK, read_timeout_s=read_timeout_s)
    calls = [client.model(), client.score(REQUEST), client.count_tokens(["a"]), endpoint.ask("GET", "/v1/models")]
    for call in calls:
        try:
            await asyncio.wait_for(call, 60)
        except IcmError as error:
            found.append(error)
    assert all(error.message.isprintable() and len(error.message) < 5000 for error in found)
    await client.close()
    await endpoint.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("headers", ["", STREAM])
@pytest.mark.parametrize("piece", [b"\n" * 2**16, b" " * 2**16, b"{" * 2**16, lines(START) * 300])
async def test_an_answer_without_an_end(headers: str, piece: bytes) -> None:
    async with answering(headers, lambda: endless(piece)) as url:
        found = await failures(url)
    assert len(found) == 4
    assert all(type(error) is ScorerError for error in found), found


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_packed_a_thousandfold(status: int) -> None:
    packed = b"".join(bomb(b"\n", 256))
    assert len(packed) < 2**19
    for headers in (PACKED, PACKED + STREAM):
        tracemalloc.start()
        try:
            async with answering(headers, lambda: iter([packed]), status) as url:
                found = await failures(url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(found) == 4
        assert all(type(error) is ScorerError for error in found), found
        assert peak < 100 * 2**20  # the endpoint's answers may have 64 MiB


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"\n", b"\n\n \n", lines({"kind": "rows", "prompts": [], "logprobs": []})])
async def test_a_stream_that_says_nothing(piece: bytes) -> None:
    def body() -> Iterator[bytes]:
        yield lines(START)
        yield from endless(piece)

    async with (
        answering(STREAM, body, pause_s=0.05) as url,
        ScorerClient(url, retry=QUICK, read_timeout_s=1.5) as client,  # a busy machine begins its answer within that
    ):
        with pytest.raises(IcmError) as raised:
            await asyncio.wait_for(client.score(REQUEST), 30)
    assert (type(raised.value), raised.value.code) == (UnavailableError, "stalled")


@pytest.mark.slow
async def test_rows_that_come_slowly_are_waited_for() -> None:
    """Each within the time that a read may take, all together not; blank lines between them."""

    def body() -> Iterator[bytes]:
        yield lines(START)
        for number in range(3):
            yield from [b"\n"] * 4
            yield lines({"kind": "rows", "prompts": [number], "logprobs": [[-1.0, -2.0]]})
        yield lines(END)

    async with (
        answering(STREAM, body, pause_s=0.1) as url,
        ScorerClient(url, retry=QUICK, read_timeout_s=1.0) as client,
    ):
        assert (await client.score(REQUEST)).logprobs == [[-1.0, -2.0]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_that_comes_byte_by_byte(status: int) -> None:
    async with answering("", lambda: endless(b"["), status, pause_s=0.05) as url:
        found = await failures(url, read_timeout_s=0.4)
    assert len(found) == 4
    assert all(isinstance(error, UnavailableError) for error in found), found


@pytest.mark.slow
async def test_a_head_that_comes_byte_by_byte() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                writer.write(b"HTTP/1.1 200 OK\r\nX: y" if _ == 0 else b"y")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found = await failures(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", read_timeout_s=0.4)
    server.close()
    assert len(found) == 4
    assert all(isinstance(error, UnavailableError) for error in found), found


@pytest.mark.parametrize(
    "change",
    [
        {"computed_tokens": -(10**30)},
        {"computed_tokens": 10**30},
        {"prompt_tokens": -1},
        {"num_reads": 2**60},
        {"cached_tokens": 1.5},
    ],
)
async def test_what_cannot_have_been_counted_is_not_believed(change: dict[str, Any]) -> None:
    async with (
        answering(STREAM, lambda: iter([lines(START, ROWS, {"kind": "end", "usage": change})])) as url,
        ScorerClient(url, retry=QUICK) as client,
    ):
        with pytest.raises(ScorerError, match="does not match the scorer's protocol"):
            await client.score(REQUEST)


@pytest.mark.parametrize(
    "change",
    [
        {"max_prompt_tokens": 0},
        {"max_prompt_tokens": 10**30},
        {"max_prompts": 0},
        {"max_prompts": -5},
        {"cache_block_tokens": 0},
        {"cache_block_tokens": -(10**30)},
        {"name": "x" * 10_000},
        {"name": "a\x1b[2Jb"},
        {"name": "a\nb"},
        {"digest": "\u202e"},
        {"engine": "a\u2028b"},
        {"dtype": "\x85"},
        {"adapters": {"\x07": ""}},
        {"adapters": {"a": "\n"}},
        {"adapters": {str(number): "" for number in range(10_000)}},
    ],
)
async def test_a_model_that_cannot_be_is_not_believed(change: dict[str, Any]) -> None:
    async with (
        answering("", lambda: iter([json.dumps(INFO | change).encode()])) as url,
        ScorerClient(url, retry=QUICK) as client,
    ):
        with pytest.raises(ScorerError, match="does not match the scorer's protocol"):
            await client.model()


async def test_a_model_may_have_many_adapters() -> None:
    info = INFO | {"adapters": {f"{number:04}" + "a" * 300: "b" * 64 for number in range(MAX_ADAPTERS)}}
    content = lines(START | {"model": info}, ROWS, END)
    async with answering(STREAM, lambda: iter([content])) as url, ScorerClient(url, retry=QUICK) as client:
        assert (await client.score(REQUEST)).model.adapters == info["adapters"]
    content = json.dumps(info).encode()
    async with answering("", lambda: iter([content])) as url, ScorerClient(url, retry=QUICK) as client:
        assert (await client.model()).adapters == info["adapters"]


@pytest.mark.parametrize("counts", [[-1], [10**30], [1, 2], [], [1.5], [None]])
async def test_counts_that_cannot_be_are_not_believed(counts: list[Any]) -> None:
    async with (
        answering("", lambda: iter([json.dumps({"counts": counts}).encode()])) as url,
        ScorerClient(url, retry=QUICK) as client,
    ):
        with pytest.raises(ScorerError):
            await client.count_tokens(["a"])


async def test_what_many_answers_cost_is_added_up() -> None:
    """Also beyond what one answer may say."""
    most = {"kind": "end", "usage": {"computed_tokens": 2**48}}
    one = [START | {"num_prompts": 1}, {"kind": "rows", "prompts": [0], "logprobs": [[-1.0, -2.0]]}, most]
    async with (
        answering(STREAM, lambda: iter([lines(*one)])) as url,
        ScorerClient(url, retry=QUICK, max_prompts=1) as client,
    ):
        assert (await client.score(REQUEST)).usage.computed_tokens == 3 * 2**48


@pytest.mark.parametrize(
    "after", ["1e300", "-1e300", "nan", "inf", "9" * 400, "Fri, 31 Dec 9999 23:59:59 -2359", "x" * 9000]
)
@pytest.mark.parametrize("status", [429, 503])
async def test_waits_that_cannot_be_meant(after: str, status: int) -> None:
    async with answering(f"Retry-After: {after}\r\n", lambda: iter([b"{}"]), status) as url:
        for error in await failures(url):
            assert 0 <= (getattr(error, "retry_after_s", None) or 0) <= 86_400


@pytest.mark.parametrize(
    "place", ["http://joe:hunter2@other", "\x1b[2J", "//", "http://[", "x" * 60_000, "http://other?key=hunter2"]
)
async def test_a_redirect_to_anywhere(place: str) -> None:
    async with answering(f"Location: {place}\r\n", lambda: iter([]), 302) as url:
        found = await failures(url)
    assert len(found) == 4
    assert all("hunter2" not in error.message and len(error.message) < 500 for error in found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = {"kind": st.sampled_from(["start", "rows", "end", "error"]), "model": JSON, "usage": JSON, "error": JSON}
LINES = st.one_of(
    st.sampled_from([START, ROWS, END]),
    st.fixed_dictionaries({}, optional=WORDS),
    JSON,
    st.builds(lambda value, key: START | {key: value}, JSON, st.sampled_from(["model", "num_prompts", "kind"])),
    st.builds(lambda value, key: ROWS | {key: value}, JSON, st.sampled_from(["prompts", "logprobs"])),
    st.builds(lambda value, key: {**START, "model": INFO | {key: value}}, JSON, st.sampled_from(sorted(INFO))),
    st.builds(
        lambda status, message, details: {
            "kind": "error", "error": {"code": "c", "message": message, "details": details, "status": status},
        },
        st.integers(-5, 700), st.text(), st.dictionaries(st.text(max_size=5), JSON, max_size=2),
    ),
)  # fmt: skip
HEADERS = st.sampled_from(["", STREAM, PACKED, PACKED + STREAM, "Content-Encoding: zstd\r\n", "Content-Length: 7\r\n"])


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(LINES, max_size=5).map(lambda all_: lines(*all_)) | st.binary(max_size=200) | st.just(b"[" * 100_000),
    HEADERS,
    st.sampled_from([200, 200, 200, 204, 302, 400, 401, 413, 429, 500, 503]),
)
async def test_whatever_is_answered_ends_in_an_error_of_ours(body: bytes, headers: str, status: int) -> None:
    """Or, once in a while, in an answer."""
    async with answering(headers, lambda: iter([body]), status) as url:
        await failures(url)
