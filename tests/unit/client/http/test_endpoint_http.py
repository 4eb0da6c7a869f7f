"""HTTP to servers that others wrote: what they may answer, as one line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from time import time

import httpx
import pytest

from icm_client import RequestError, ScorerError, UnavailableError
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.retry import RetryPolicy

IMPATIENT = RetryPolicy(patience_s=0.0, busy_patience_s=0.0)


def endpoint(answer: Callable[[httpx.Request], httpx.Response], api_key: str | None = None) -> EndpointHttp:
    return EndpointHttp("http://box:8000/v1", api_key=api_key, retry=IMPATIENT, transport=httpx.MockTransport(answer))


async def damaged() -> AsyncIterator[bytes]:
    yield b"this is not what the header says"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (lambda: httpx.Response(308, headers={"Location": "https://other"}), RequestError, "moved, to 'https://other'"),
        (lambda: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=damaged()), ScorerError, "decompr"),
        (lambda: httpx.Response(200, content=b"[" * 100_000), ScorerError, "not JSON"),
        (lambda: httpx.Response(503, content=b"[" * 100_000), UnavailableError, "503"),
    ],
)
async def test_wrong_answers_are_reported(
    answer: Callable[[], httpx.Response], kind: type[Exception], says: str
) -> None:
    http = endpoint(lambda request: answer())
    with pytest.raises(kind, match=says) as raised:
        await http.ask("GET", "/v1/models")
    assert "\n" not in str(raised.value)
    await http.close()


async def test_a_long_request_does_not_use_up_patience() -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) == 1:
            await asyncio.sleep(0.3)
            raise httpx.ReadError("cut")
        return httpx.Response(200, json=[])

    retry = RetryPolicy(patience_s=0.2, first_wait_s=0.01)
    http = EndpointHttp("http://box:8000", retry=retry, transport=httpx.MockTransport(answer))
    assert await http.ask("POST", "/v1/completions", {}) == []
    assert len(asked) == 2
    await http.close()


async def test_a_wait_may_be_named_by_date() -> None:
    headers = {"Retry-After": formatdate(time() + 100.0, usegmt=True)}
    http = endpoint(lambda request: httpx.Response(503, headers=headers))
    with pytest.raises(UnavailableError) as raised:
        await http.ask("GET", "/v1/models")
    assert 90.0 < (raised.value.retry_after_s or 0.0) <= 100.0
    await http.close()


def test_a_key_that_cannot_be_one_is_reported_but_not_shown() -> None:
    with pytest.raises(RequestError, match="is not an API key: character 5") as raised:
        endpoint(lambda request: httpx.Response(200), api_key="schlüssel")
    assert "schl" not in raised.value.message
