"""Which of several scorers is asked, and what is asked of all."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from icm_client.contract.errors import RequestError, ScorerError, UnavailableError
from icm_client.contract.wire import ModelInfo
from icm_client.http.exchange import Exchange
from icm_client.http.fronts import FIRST_REST_S, Front, Fronts, urls_of

URLS = ["http://a:8000", "http://b:8000", "http://c:8000"]


class Scorers:
    """A transport to scorers, some of which are gone."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.stopping: set[str] = set()
        self.digests: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.now_s = 100.0
        exchanges = [
            Exchange(url, api_key=None, read_timeout_s=9.0, transport=httpx.MockTransport(self._answer)) for url in URLS
        ]
        self.fronts = Fronts(exchanges, lambda: self.now_s)
        home = max(map(Front, exchanges), key=lambda front: front.weight("")).exchange.url
        self.home = httpx.URL(home).host

    async def ask(self) -> str:
        """The host that was asked last for a small answer; the clock goes on."""
        self.now_s += 0.5
        with contextlib.suppress(UnavailableError):
            await self.fronts.ask(ModelInfo, "/v1/model")
        return self.asked[-1][1]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.asked.append((request.method, host))
        if host in self.gone:
            raise httpx.ConnectError("refused")
        if host in self.stopping:
            return httpx.Response(503, headers={"Retry-After": "30"})
        digest = self.digests.get(host, "same")
        info = ModelInfo(name="m", digest=digest, dtype="x", engine="x", max_prompt_tokens=9, adds_bos=False)
        return httpx.Response(200, content=info.model_dump_json())


@pytest.fixture
def scorers() -> Scorers:
    return Scorers()


async def test_one_that_is_gone_is_left_alone_for_longer_and_longer_and_then_has_its_work_again(
    scorers: Scorers,
) -> None:
    assert await scorers.ask() == scorers.home
    scorers.gone = {scorers.home}
    assert await scorers.ask() == scorers.home
    asked = {await scorers.ask() for _ in range(5)}
    assert len(asked - {scorers.home}) == len(asked) == 1  # the next one, for all of them
    scorers.now_s += FIRST_REST_S
    assert await scorers.ask() == scorers.home
    scorers.now_s += FIRST_REST_S
    assert await scorers.ask() != scorers.home
    scorers.gone = set()
    scorers.now_s += FIRST_REST_S
    assert await scorers.ask() == scorers.home


async def test_while_all_are_gone_each_is_tried_in_turn(scorers: Scorers) -> None:
    scorers.gone = {"a", "b", "c"}
    assert [len({await scorers.ask() for _ in range(3)}) for _ in range(3)] == [3, 3, 3]


async def test_one_that_stops_is_left_without_the_wait_that_it_names(scorers: Scorers) -> None:
    scorers.stopping = {scorers.home}
    with pytest.raises(UnavailableError) as raised:
        await scorers.fronts.ask(ModelInfo, "/v1/model")
    assert raised.value.retry_after_s is None
    assert await scorers.ask() != scorers.home
    scorers.stopping = {"a", "b", "c"}
    waits = []
    for _ in range(3):
        with pytest.raises(UnavailableError) as raised:
            await scorers.fronts.ask(ModelInfo, "/v1/model")
        waits.append(raised.value.retry_after_s)
    assert waits[-1] == 30  # all stop: nothing else is there to ask


async def test_one_that_comes_back_with_another_model_is_an_error(scorers: Scorers) -> None:
    await scorers.fronts.ready()
    scorers.gone = {scorers.home}
    await scorers.ask()
    scorers.gone, scorers.digests = set(), {scorers.home: "other"}
    scorers.now_s += 2 * FIRST_REST_S
    with pytest.raises(ScorerError, match="same model") as raised:
        await scorers.fronts.ready()
    assert raised.value.code == "other_model"


async def test_what_changes_something_goes_to_all(scorers: Scorers) -> None:
    await scorers.fronts.ask(ModelInfo, "/v1/adapters/x", method="DELETE")
    assert [host for method, host in scorers.asked if method == "DELETE"] == ["a", "b", "c"]


def test_addresses_are_separated_where_a_scheme_begins_and_named_once() -> None:
    assert urls_of("http://a/x,y,https://b") == ["http://a/x,y", "https://b"]
    exchange = Exchange("http://a", api_key=None, read_timeout_s=9.0, transport=httpx.MockTransport(lambda _: None))  # type: ignore[arg-type, return-value]
    with pytest.raises(RequestError, match="twice"):
        Fronts([exchange, exchange])
