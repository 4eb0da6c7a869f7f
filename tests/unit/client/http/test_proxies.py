"""Proxies: where they are asked, where never, and what is shown of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.proxy import environment, proxy
from tests.streaming import StreamingScorer, served

from icm_client import IcmError, OpenAIScorer, RequestError, ScorerClient, ScoreRequest, UnavailableError
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.proxies import is_loopback, proxy_for
from icm_client.http.retry import RetryPolicy

IMPATIENT = RetryPolicy(patience_s=0.0)
REQUEST = ScoreRequest(prompts=["Word: cod\nGroup:"], labels=[" living", " object"])
ANYWHERE = "http://scorer.example:8000"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_this_machine_is_never_asked_by_a_proxy(host: str, variable: str) -> None:
    async with served(StreamingScorer().app) as port, proxy() as refusing:
        with environment(**{variable: refusing.url}):
            assert proxy_for(f"http://{host}:{port}") is None
            if host.startswith("["):
                return  # few machines take both kinds at one socket
            async with ScorerClient(f"http://{host}:{port}", retry=IMPATIENT) as client:
                assert len((await client.score(REQUEST)).logprobs) == 1
    assert refusing.asked == []


async def test_other_machines_are() -> None:
    async with served(StreamingScorer().app) as port, proxy(port) as leading:
        with environment(HTTP_PROXY=leading.url.replace("//", "//joe:hunter2@")):
            async with ScorerClient(ANYWHERE, retry=IMPATIENT) as client:
                assert len((await client.score(REQUEST)).logprobs) == 1
    assert leading.asked == [f"POST {ANYWHERE}/v1/score HTTP/1.1"]
    assert leading.authorizations == ["Basic am9lOmh1bnRlcjI="]


async def test_an_error_names_the_proxy_without_its_password() -> None:
    async with proxy() as refusing:
        with environment(http_proxy=refusing.url.replace("//", "//joe:hunter2@")):
            client, endpoint = ScorerClient(ANYWHERE, retry=IMPATIENT), EndpointHttp(ANYWHERE, retry=IMPATIENT)
        messages = []
        for call in (client.model(), client.score(REQUEST), client.wait_ready(0.0), endpoint.ask("GET", "/v1/models")):
            with pytest.raises(IcmError) as raised:
                await call
            messages.append(raised.value.message)
        await client.close()
        await endpoint.close()
    with environment(HTTP_PROXY=refusing.url.replace("//", "//joe:hunter2@")):  # where nobody listens by now
        async with ScorerClient(ANYWHERE, retry=IMPATIENT) as client:
            for call in (client.model(), client.wait_ready(0.0)):
                with pytest.raises(UnavailableError) as away:
                    await call
                messages.append(away.value.message)
    for message in messages:
        assert refusing.url in message
        assert "HTTP_PROXY" in message
        assert "NO_PROXY" in message
        assert "scorer.example" in message
        assert "hunter2" not in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("url", "no_proxy", "by_proxy"),
    [
        (ANYWHERE, "", True),
        (ANYWHERE, "scorer.example", False),
        (ANYWHERE, "other, .example", False),
        (ANYWHERE, "scorer.example:8000", False),
        (ANYWHERE, "scorer.example:8001", True),
        (ANYWHERE, "*", False),
        ("http://10.1.2.3", "10.0.0.0/8", False),
        ("http://11.1.2.3", "10.0.0.0/8, nonsense/99", True),
        ("http://[fd00::1]:8000", "fd00::/8", False),
        ("http://10.1.2.3", "10.1.2.3", False),
        ("https://scorer.example", "", False),
    ],
)
def test_exceptions(url: str, no_proxy: str, by_proxy: bool) -> None:
    with environment(HTTP_PROXY="proxy:3128", NO_PROXY=no_proxy):
        assert (proxy_for(url) is not None) == by_proxy


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("box.localhost", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("0x7f000001", True),
        ("notlocalhost", False),
        ("localhost.example", False),
        ("127.example", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("face", False),
        ("", False),
    ],
)
def test_loopback(host: str, is_here: bool) -> None:
    assert is_loopback(host) == is_here


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("socks5://joe:hunter2@proxy:1080", "httpx[socks]"),
        ("socks5h://proxy:1080", "httpx[socks]"),
        ("socks4://proxy:1080", "not one of"),
        ("ftp://proxy", "not one of"),
        ("http://", "not a URL"),
        ("http://joe:hunter2@", "not a URL"),
        ("http://proxy:99999", "not a URL"),
        ("http://pro xy", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://joe:hunter2/x@proxy:port", "not a URL"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_reported_before_anything_is_sent(named: str, says: str) -> None:
    with environment(ALL_PROXY=named):
        for make in (ScorerClient, EndpointHttp):
            with pytest.raises(RequestError) as raised:
                make(ANYWHERE)
            assert says in raised.value.message
            assert "ALL_PROXY" in raised.value.message
            assert "NO_PROXY" in raised.value.message
            assert "hunter2" not in raised.value.message
            assert "\n" not in raised.value.message
        async with ScorerClient("http://127.0.0.1:9"):
            pass


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=30))
def test_no_proxy_variable_is_an_accident(named: str) -> None:
    with environment(HTTP_PROXY=named, NO_PROXY=named[::-1]), contextlib.suppress(RequestError):
        ScorerClient(ANYWHERE)


async def test_certificates_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")
    for place in (bad, tmp_path / "none.pem"):
        with environment(SSL_CERT_FILE=str(place)), pytest.raises(RequestError, match="SSL_CERT_FILE"):
            await OpenAIScorer.open("https://scorer.example")
