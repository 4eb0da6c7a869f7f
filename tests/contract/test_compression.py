"""Compressed requests and answers, over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import zstandard
from starlette.responses import StreamingResponse
from starlette.routing import Route
from tests.streaming import served

from icm_server.engines.fake import FakeEngine
from icm_server.http.app import MIN_GZIP_BYTES, create_app

GOOD: dict[str, Any] = {"prompts": ["Word: salmon\nGroup:"], "labels": [" living", " object"]}
MAX_BODY_BYTES = 100_000


async def make_engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(make_engine, max_body_bytes=MAX_BODY_BYTES)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://scorer") as client,
    ):
        await app.state.scoring.startup_ended.wait()
        yield client


def packed(content: bytes, encoding: str) -> bytes:
    return gzip.compress(content) if encoding == "gzip" else zstandard.compress(content)


async def post(http: httpx.AsyncClient, content: bytes, encoding: str) -> httpx.Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    return await http.post("/v1/score", content=content, headers=headers)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_compressed_request_is_answered_as_a_plain_one(http: httpx.AsyncClient, encoding: str) -> None:
    plain = await http.post("/v1/score", json=GOOD)
    response = await post(http, packed(json.dumps(GOOD).encode(), encoding), encoding)
    assert response.status_code == 200
    assert response.json()["logprobs"] == plain.json()["logprobs"]
    for name in ("zstd", "gzip"):
        assert name in response.headers["Accept-Encoding"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_the_limit_counts_what_is_unpacked(http: httpx.AsyncClient, encoding: str) -> None:
    content = json.dumps({**GOOD, "prompts": ["x" * MAX_BODY_BYTES]}).encode()
    response = await post(http, packed(content, encoding), encoding)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"
    fits = json.dumps({**GOOD, "prompts": ["x y" * 20_000]}).encode()
    assert (await post(http, packed(fits, encoding), encoding)).json()["error"]["code"] == "prompt_too_long"


@pytest.mark.parametrize(
    ("encoding", "content", "status", "code"),
    [
        ("gzip", b"{}", 400, "corrupt_body"),
        ("zstd", b"{}", 400, "corrupt_body"),
        ("gzip", gzip.compress(b"{}" * 50, mtime=0)[:-1], 400, "corrupt_body"),
        ("br", b"{}", 415, "unsupported_encoding"),
    ],
)
async def test_what_cannot_be_unpacked(
    http: httpx.AsyncClient, encoding: str, content: bytes, status: int, code: str
) -> None:
    response = await post(http, content, encoding)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert "gzip" in response.headers["Accept-Encoding"]


async def test_large_answers_are_compressed_for_those_who_take_it(http: httpx.AsyncClient) -> None:
    many = {**GOOD, "prompts": [f"Word: w{number}\nGroup:" for number in range(500)]}
    answers = []
    for accepted in ("gzip", "identity"):
        response = await http.post("/v1/score", json=many, headers={"Accept-Encoding": accepted})
        assert (response.headers.get("Content-Encoding") == "gzip") == (accepted == "gzip")
        answers.append(response.json())
        assert len(response.content) > MIN_GZIP_BYTES
    assert answers[0]["logprobs"] == answers[1]["logprobs"]
    small = await http.post("/v1/score", json=GOOD, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


async def test_a_streamed_answer_is_not_held_back_by_compression() -> None:
    """Each line has to arrive while the next is still being worked at, also packed."""
    go_on = asyncio.Event()

    async def lines() -> AsyncIterator[str]:
        yield '{"kind": "start"}\n'
        await go_on.wait()
        yield '{"kind": "end"}\n'

    async def stream(request: Any) -> StreamingResponse:
        return StreamingResponse(lines(), media_type="application/x-ndjson")

    app = create_app(make_engine)
    app.router.routes.insert(0, Route("/stream", stream))
    async with served(app) as port, httpx.AsyncClient(timeout=30) as client:
        url, headers = f"http://127.0.0.1:{port}/stream", {"Accept-Encoding": "gzip"}
        async with client.stream("GET", url, headers=headers) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            pieces = response.aiter_bytes()
            found = b""
            while not found.endswith(b"\n"):
                found += await anext(pieces)
            assert found == b'{"kind": "start"}\n'
            go_on.set()
            assert b"".join([piece async for piece in pieces]) == b'{"kind": "end"}\n'
