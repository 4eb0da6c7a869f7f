"""Answers of any size over HTTP: in pieces, bounded where all of them is held, and the same either way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.streaming import served

from icm_client.contract.wire import STREAM_TYPE, ScoreResponse
from icm_server.config import ConnectionLimits
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

LABELS = [f" label{k}" for k in range(256)]
MANY: dict[str, Any] = {"prompts": ["a"] * 20_000, "labels": LABELS}
MAX_LINE_BYTES = 300_000


async def make_engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        served(create_app(make_engine)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield client


async def lines(http: httpx.AsyncClient, body: dict[str, Any]) -> AsyncIterator[str]:
    async with http.stream("POST", "/v1/score", json=body, headers={"Accept": STREAM_TYPE}) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            yield line


async def test_a_whole_answer_that_is_too_large_is_refused_before_anything_is_done(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/score", json=MANY)
    assert response.status_code == 413
    error = response.json()["error"]
    assert error["code"] == "answer_too_large"
    assert error["details"] == {"values": 5_120_000, "limit": 2**20}
    assert STREAM_TYPE in error["message"]
    assert (await http.get("/v1/experiments")).json()["experiments"] == []


@pytest.mark.slow
async def test_a_line_of_a_stream_is_short_also_where_many_prompts_are_the_same(http: httpx.AsyncClient) -> None:
    numbers: list[int] = []
    async for line in lines(http, MANY):
        assert len(line) < MAX_LINE_BYTES
        found = json.loads(line)
        if found["kind"] == "rows":
            assert len(found["prompts"]) == len(found["logprobs"])
            numbers += found["prompts"]
    assert found["kind"] == "end"
    assert found["usage"]["num_reads"] == 2
    assert numbers == list(range(20_000))


@pytest.mark.slow
@pytest.mark.parametrize("num_prompts", [1, 15, 16, 17, 100])
async def test_a_whole_answer_in_pieces_is_the_streamed_one(http: httpx.AsyncClient, num_prompts: int) -> None:
    body = {"prompts": [f"Word: {k % 60}\nGroup:" for k in range(num_prompts)], "labels": LABELS}
    answer = ScoreResponse.model_validate_json((await http.post("/v1/score", json=body)).content)
    rows: dict[int, list[float]] = {}
    async for line in lines(http, body):
        found = json.loads(line)
        if found["kind"] == "rows":
            rows |= zip(found["prompts"], found["logprobs"], strict=True)
    assert answer.logprobs == [rows[number] for number in range(num_prompts)]
    assert answer.usage.prompt_tokens == 4 * num_prompts
    assert answer.model.name == "fake"


@pytest.mark.slow
@pytest.mark.parametrize("accepted", [STREAM_TYPE, "application/json"])
async def test_a_caller_that_takes_nothing_is_given_up_after_the_time_that_is_set(accepted: str) -> None:
    app = create_app(make_engine, connections=ConnectionLimits(answer_stall_s=0.1))
    body = json.dumps({"prompts": [f"Word: {k}" for k in range(100)], "labels": LABELS}).encode()
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    is_taken = asyncio.Event()

    async def receive() -> Any:
        if asked:
            return asked.pop()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await is_taken.wait()

    async with app.router.lifespan_context(app):
        await app.state.scoring.startup_ended.wait()
        headers = {"host": "127.0.0.1", "content-type": "application/json", "accept": accepted}
        scope = {"type": "http", "method": "POST", "path": "/v1/score", "query_string": b"", "http_version": "1.1"}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with asyncio.timeout(30):
            await app({**scope, "headers": pairs}, receive, send)


async def test_special_tokens_are_text_unless_they_are_asked_for(http: httpx.AsyncClient) -> None:
    texts = ["<|endoftext|>Word: eel", "eel<|endoftext|>", "<|endoftext|> eel"]
    counts = [
        (await http.post("/v1/tokens", json={"texts": texts, "special_tokens": special})).json()["counts"]
        for special in (False, True)
    ]
    assert counts == [[2, 1, 2], [3, 2, 2]]
    body = {"prompts": ["a b<|endoftext|>"], "labels": [" c", " d"]}
    plain, special = [
        (await http.post("/v1/score", json={**body, "special_tokens": is_special})).json()
        for is_special in (False, True)
    ]
    assert [plain["usage"]["prompt_tokens"], special["usage"]["prompt_tokens"]] == [2, 3]
    assert plain["logprobs"] != special["logprobs"]


async def test_counting_tokens_has_a_deadline(http: httpx.AsyncClient) -> None:
    body = {"texts": ["w " * 4000] * 500, "deadline_s": 1e-3}
    response = await http.post("/v1/tokens", json=body)
    assert response.status_code == 504
    assert response.json()["error"]["details"] == {"deadline_s": 1e-3}
