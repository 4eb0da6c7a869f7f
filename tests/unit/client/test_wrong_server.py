"""The wrong address or the wrong kind of server is told in seconds, however long a scorer that starts is waited for."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.conftest import Serving
from tests.openai_app import FakeEndpoint

from icm_client import OpenAIScorer, RequestError, ScorerClient, UnavailableError
from icm_client.http.retry import RetryPolicy

NOBODY = "http://127.0.0.1:9"
LONG_S = 10_000.0


async def test_an_address_where_nothing_listens_is_told_soon() -> None:
    async with ScorerClient(NOBODY) as client:
        with pytest.raises(UnavailableError, match=r"no scorer was ready at .* within 0 s"):
            await client.wait_ready(LONG_S, unreachable_s=0.0)
    with pytest.raises(UnavailableError, match="cannot reach the endpoint"):
        await OpenAIScorer.open(NOBODY, retry=RetryPolicy(patience_s=LONG_S, unreachable_s=0.0))


async def test_a_machine_that_is_off_is_told_soon() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("timed out")

    async with ScorerClient("http://scorer", transport=httpx.MockTransport(answer)) as client, asyncio.timeout(10):
        with pytest.raises(UnavailableError, match=r"within 0 s \(timed out\)"):
            await client.wait_ready(LONG_S, unreachable_s=0.0)


async def test_a_scorer_that_was_reached_is_waited_for() -> None:
    """Its first answer says that it is not ready; then nothing accepts a connection for a moment."""
    answers = iter([503, None, None, 200])

    def answer(request: httpx.Request) -> httpx.Response:
        status = next(answers, 422)
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json={"error": {"code": "x", "message": "the model is asked for"}})

    async with ScorerClient("http://scorer", transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(RequestError, match="the model is asked for"):
            await client.wait_ready(LONG_S, unreachable_s=0.0)


@pytest.mark.parametrize("key", [None, "secret"])
async def test_an_openai_server_without_its_prefix_is_recognised(key: str | None) -> None:
    transport = httpx.ASGITransport(app=FakeEndpoint(key=key).app)
    async with ScorerClient("http://openai", transport=transport) as client:
        with pytest.raises(RequestError, match="name it openai:http://openai"):
            await client.wait_ready(LONG_S)


async def test_vllm_with_a_key_is_recognised() -> None:
    def refuse(request: Request) -> JSONResponse:
        return JSONResponse({"error": "Unauthorized"}, status_code=401)

    transport = httpx.ASGITransport(app=Starlette(routes=[Route("/{path:path}", refuse)]))
    async with ScorerClient("http://vllm", transport=transport) as client:
        with pytest.raises(RequestError, match="openai:"):
            await client.wait_ready(LONG_S)


async def test_an_icm_server_with_the_prefix_is_recognised(serving: Serving) -> None:
    async with serving() as scorer:
        transport = scorer._fronts._fronts[0].exchange._connection._http._transport
        with pytest.raises(RequestError, match="is an icm-server: name it http://scorer, without"):
            await OpenAIScorer.open("http://scorer", transport=transport)
