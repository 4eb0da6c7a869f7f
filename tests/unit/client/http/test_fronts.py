"""Which of several scorers is asked, and what is asked of all."""

from __future__ import annotations

import contextlib
import json

import httpx
import pytest
from tests.hand_clock import HandClock

from icm_client.contract.adapters import AdapterInfo
from icm_client.contract.errors import IcmError, RequestError, ScorerError, UnavailableError
from icm_client.contract.wire import ModelInfo, ScoreRequest
from icm_client.http.exchange import Exchange
from icm_client.http.front import FIRST_REST_S, Front
from icm_client.http.fronts import Fronts, urls_of

URLS = ["http://a:8000", "http://b:8000", "http://c:8000"]
REQUEST = ScoreRequest(prompts=["a"], labels=[" x", " y"], experiment="e")
ADAPTER = AdapterInfo(name="x", digest="d", rank=1, num_modules=1, num_bytes=1, shared=False, fixed=False, reads=0)


class Scorers:
    """A transport to scorers, some of which are gone."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.stopping: set[str] = set()
        self.failing: set[str] = set()
        """They answer all but what needs the engine."""
        self.models: dict[str, dict[str, str]] = {}
        """What the model of a host has that others have not."""
        self.without_adapter: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.clock = HandClock()
        exchanges = [
            Exchange(url, api_key=None, read_timeout_s=9.0, transport=httpx.MockTransport(self._answer)) for url in URLS
        ]
        self.fronts = Fronts(exchanges, self.clock)
        fronts = [Front(exchange, self.clock, is_alone=False) for exchange in exchanges]
        order = sorted(fronts, key=lambda front: front.weight(REQUEST.experiment), reverse=True)
        self.order = [httpx.URL(front.url).host for front in order]
        self.home = self.order[0]

    async def ask(self) -> str:
        """The host that a new request is sent to first; the clock goes on."""
        self.clock.now += 0.5
        route = self.fronts.route(REQUEST.experiment)
        with contextlib.suppress(IcmError):
            await route.ask(ModelInfo, "/v1/model")
        return self.asked[-1][1]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.asked.append((request.method, host))
        if host in self.gone:
            raise httpx.ConnectError("refused")
        if host in self.stopping or (host in self.failing and request.url.path == "/v1/score"):
            return httpx.Response(503, headers={"Retry-After": "30"})
        if request.url.path.startswith("/v1/adapters"):
            if host not in self.without_adapter:
                self.without_adapter.add(host)
                return httpx.Response(200, content=ADAPTER.model_dump_json())
            return httpx.Response(404, json={"error": {"code": "unknown_adapter", "message": "no adapter 'x'"}})
        info = {"name": "m", "digest": "same", "dtype": "x", "engine": "x", "max_prompt_tokens": 9, "adds_bos": False}
        return httpx.Response(200, content=json.dumps(info | self.models.get(host, {})))


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
    scorers.clock.now += FIRST_REST_S
    assert await scorers.ask() == scorers.home
    scorers.clock.now += FIRST_REST_S
    assert await scorers.ask() != scorers.home
    scorers.gone = set()
    scorers.clock.now += FIRST_REST_S
    assert await scorers.ask() == scorers.home


async def test_one_that_answers_but_does_no_work_is_left_alone_for_longer_too(scorers: Scorers) -> None:
    scorers.failing = {scorers.home}
    rests = []
    for _ in range(3):
        route = scorers.fronts.route(REQUEST.experiment)
        with pytest.raises(UnavailableError):
            await anext(route.lines(REQUEST))
        assert scorers.asked[-1] == ("POST", scorers.home)
        begun = scorers.clock.now
        while not scorers.fronts._fronts["abc".index(scorers.home)].is_up:
            scorers.clock.now += FIRST_REST_S
        rests.append(scorers.clock.now - begun)
    assert rests == [FIRST_REST_S, 2 * FIRST_REST_S, 4 * FIRST_REST_S]


async def test_while_all_are_gone_each_is_tried_in_turn(scorers: Scorers) -> None:
    scorers.gone = {"a", "b", "c"}
    assert [len({await scorers.ask() for _ in range(3)}) for _ in range(3)] == [3, 3, 3]


async def test_a_request_asks_each_before_it_asks_one_again(scorers: Scorers) -> None:
    """Also one that is left alone because of others' requests, and one whose rest has ended meanwhile."""
    scorers.gone = {"a", "b", "c"}
    for _ in range(3):
        await scorers.ask()
    scorers.asked.clear()
    route, left = scorers.fronts.route(REQUEST.experiment), []
    for _ in range(3):
        with pytest.raises(UnavailableError) as raised:
            await route.ask(ModelInfo, "/v1/model")
        left.append(raised.value.others_left)
        scorers.clock.now += 1000.0
    assert sorted(host for _, host in scorers.asked) == ["a", "b", "c"]
    assert left == [True, True, False]
    assert all(f"{url}: refused" in raised.value.message for url in URLS)


async def test_one_that_stops_is_left_without_the_wait_that_it_names(scorers: Scorers) -> None:
    scorers.stopping = {scorers.home}
    with pytest.raises(UnavailableError) as raised:
        await scorers.fronts.route(REQUEST.experiment).ask(ModelInfo, "/v1/model")
    assert raised.value.retry_after_s is None
    assert await scorers.ask() != scorers.home
    scorers.stopping = {"a", "b", "c"}
    waits = []
    for _ in range(3):
        with pytest.raises(UnavailableError) as raised:
            await scorers.fronts.route(REQUEST.experiment).ask(ModelInfo, "/v1/model")
        waits.append(raised.value.retry_after_s)
    assert waits[-1] == 30  # all stop: nothing else is there to ask


@pytest.mark.parametrize("other", [{"digest": "other"}, {"dtype": "other"}])
async def test_two_that_are_never_there_together_are_compared(scorers: Scorers, other: dict[str, str]) -> None:
    scorers.gone = {"b", "c"}
    await scorers.fronts.ready(9.0)
    assert [note.partition(" ")[0] for note in scorers.fronts.notes] == URLS[1:]
    scorers.gone, scorers.models = {"a", "c"}, {"b": other}
    scorers.clock.now += 1000.0
    with pytest.raises(ScorerError, match="same model") as raised:
        await scorers.fronts.ready(9.0)
    assert raised.value.code == "other_model"
    assert all(url in raised.value.message for url in URLS[:2])


async def test_one_that_comes_back_with_another_model_is_an_error(scorers: Scorers) -> None:
    await scorers.fronts.ready(9.0)
    scorers.gone = {"a"}
    with contextlib.suppress(UnavailableError):
        await scorers.fronts.ready(9.0)
    scorers.gone, scorers.models = set(), {"a": {"digest": "other"}}
    with pytest.raises(ScorerError, match=r"http://a:8000 served m .* but http://a:8000 now serves m"):
        await scorers.fronts.ready(9.0)


async def test_what_changes_something_goes_to_all_and_is_repeated_only_where_it_failed(scorers: Scorers) -> None:
    scorers.gone = {"b"}
    change = scorers.fronts.change(absent="unknown_adapter")

    def delete() -> object:
        return change.make(AdapterInfo, lambda exchange: exchange.ask(AdapterInfo, "/v1/adapters/x", method="DELETE"))

    with pytest.raises(UnavailableError, match=r"http://b:8000.*done on http://a:8000, http://c:8000"):
        await delete()
    scorers.gone = set()
    scorers.asked.clear()
    assert await delete() == ADAPTER
    assert scorers.asked == [("DELETE", "b")]


async def test_an_adapter_that_only_some_have_can_be_deleted_and_one_that_none_has_cannot(scorers: Scorers) -> None:
    async def delete() -> AdapterInfo:
        change = scorers.fronts.change(absent="unknown_adapter")
        return await change.make(
            AdapterInfo, lambda exchange: exchange.ask(AdapterInfo, "/v1/adapters/x", method="DELETE")
        )

    scorers.without_adapter = {"a", "c"}
    assert await delete() == ADAPTER
    with pytest.raises(RequestError) as raised:
        await delete()
    assert raised.value.code == "unknown_adapter"


def test_addresses_are_separated_where_a_scheme_begins_and_named_once() -> None:
    assert urls_of("http://a/x,y,https://b") == ["http://a/x,y", "https://b"]
    exchange = Exchange("http://a", api_key=None, read_timeout_s=9.0, transport=httpx.MockTransport(lambda _: None))  # type: ignore[arg-type, return-value]
    with pytest.raises(RequestError, match="twice"):
        Fronts([exchange, exchange])
