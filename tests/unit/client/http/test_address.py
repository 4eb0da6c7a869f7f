"""Users and passwords in addresses: sent, and shown nowhere."""

from __future__ import annotations

import base64
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_client import IcmError, OpenAIScorer, RequestError, ScorerClient
from icm_client.http.address import Address, shown
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.retry import RetryPolicy

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12).map("Zq9!{}".format)
PLACES = st.sampled_from(
    ["host", "host:8000", "[::1]:8000", "10.0.0.1/v1", "host/a/b/", "", "host:port", ":80", "ho st"]
)
SCHEMES = st.sampled_from(["http://", "https://", "HTTP://", "ftp://", "", "openai:http://"])
USERS = st.sampled_from(["joe:", ":", "", "joe%40x:", "a@b:"])


@pytest.mark.parametrize(
    ("text", "url", "user"),
    [
        ("http://host:8000/", "http://host:8000", None),
        ("http://joe:hunter2@host:8000", "http://host:8000", "joe:hunter2"),
        ("http://joe@host", "http://host", "joe:"),
        ("http://:hunter2@host/v1/", "http://host/v1", ":hunter2"),
        ("https://joe:a%40b%3A%2F@[::1]:8000", "https://[::1]:8000", "joe:a@b:/"),
        ("http://joe:se@cret@host", "http://host", "joe:se@cret"),
        ("http://@host", "http://host", None),
        ("http://host/a%40b", "http://host/a%40b", None),
    ],
)
def test_a_user_is_taken_out_of_a_url(text: str, url: str, user: str | None) -> None:
    address = Address.parse(text)
    assert address.url == url
    assert shown(text).rstrip("/") == url
    basic = None if user is None else "Basic " + base64.b64encode(user.encode()).decode()
    assert address.basic == basic


@pytest.mark.parametrize("text", ["http://host/a@b", "http://joe:12/hunter2@host", "http://host?key=a@hunter2"])
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="write @ as %40") as raised:
        Address.parse(text)
    assert "hunter2" not in raised.value.message


def test_a_query_is_refused_and_not_shown() -> None:
    with pytest.raises(RequestError, match="without a query") as raised:
        Address.parse("http://host/v1?key=hunter2")
    assert "hunter2" not in raised.value.message


@given(SCHEMES, USERS, SECRETS, PLACES, st.booleans())
async def test_no_secret_is_in_any_message(scheme: str, user: str, secret: str, place: str, encoded: bool) -> None:
    url = f"{scheme}{user}{quote(secret, safe='') if encoded else secret}@{place}"

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"refused: {request.url}")

    transport, retry = httpx.MockTransport(refuse), RetryPolicy(patience_s=0.0)
    texts = [shown(url)]

    def on_wait(reason: str, _: float) -> None:
        texts.append(reason)

    for key in (None, "k3y"):
        try:
            client = ScorerClient(url, api_key=key, retry=retry, transport=transport)
            texts += [repr(client), repr(vars(client)), client.base_url]
            await client.wait_ready(0.0)
        except IcmError as error:
            texts += [repr(error), repr(error.details), repr(error.__cause__)]
        try:
            await OpenAIScorer.open(url, api_key=key, retry=retry, transport=transport, on_wait=on_wait)
        except IcmError as error:
            texts += [repr(error), repr(error.details), repr(error.__cause__)]
    for text in texts:
        assert secret not in text
        assert quote(secret, safe="") not in text
        assert "Zq9" not in text


async def test_the_user_of_a_url_is_sent() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        return httpx.Response(200, json={})

    http = EndpointHttp("http://joe:hunter2@host", transport=httpx.MockTransport(answer))
    await http.ask("GET", "/v1/models")
    await http.close()
    assert seen == ["Basic am9lOmh1bnRlcjI="]


async def test_beside_a_key_it_is_refused() -> None:
    for make in (ScorerClient, EndpointHttp):
        with pytest.raises(RequestError, match="only one of them can be sent") as raised:
            make("http://joe:hunter2@host", api_key="k3y")
        assert "hunter2" not in raised.value.message
        assert "k3y" not in raised.value.message
