"""What those who run a scorer see of it: ids, log, metrics, experiments, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from icm_server.config import Limits, ScoringConfig
from icm_server.engines.base import EngineDiedError, ReadAnswer
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app
from icm_server.lifecycle.draining import Draining
from icm_server.logs import JsonLines

LABELS = [" living", " object"]
GOOD: dict[str, Any] = {"prompts": ["Word: salmon\nGroup:"], "labels": LABELS, "experiment": "fish"}
LIMITS = Limits(max_prompts=50, max_experiment_reads=80)


@asynccontextmanager
async def running(engine: FakeEngine) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    async def make_engine() -> FakeEngine:
        return engine

    app = create_app(make_engine, scoring=ScoringConfig(limits=LIMITS))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://scorer") as http,
    ):
        await app.state.scoring.startup_ended.wait()
        yield http, app


@pytest.fixture
def lines() -> Any:
    """The log's lines, as they come."""
    log, found = logging.getLogger("icm_server"), []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(JsonLines().format(record)))

    handler, level = Keeping(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield found
    log.removeHandler(handler)
    log.setLevel(level)


async def metrics(http: httpx.AsyncClient) -> dict[str, float]:
    """Every sample by its name and labels."""
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


@pytest.mark.parametrize("sent", ["mine-1", "a" * 64, "6f1b:2@host.example"])
async def test_a_caller_s_own_id_comes_back(sent: str) -> None:
    async with running(FakeEngine()) as (http, _):
        response = await http.post("/v1/score", json=GOOD, headers={"X-Request-Id": sent})
        assert response.headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", "a" * 65, 'x" onload="', "two words", "{}"])
async def test_an_id_that_is_not_sane_is_replaced(sent: str) -> None:
    async with running(FakeEngine()) as (http, _):
        answers = [await http.post("/v1/score", json=GOOD, headers={"X-Request-Id": sent}) for _ in range(2)]
        found = [response.headers["X-Request-Id"] for response in answers]
        assert all(re.fullmatch("[0-9a-f]{16}", each) for each in found)
        assert found[0] != found[1]


async def test_every_answer_has_an_id() -> None:
    class Buggy(FakeEngine):
        num_reads = 0

        async def read(self, *arguments: Any) -> Any:
            self.num_reads += 1
            return [][0] if self.num_reads > 1 else await super().read(*arguments)

    async with running(Buggy()) as (http, _):
        for response, status in (
            (await http.get("/readyz"), 200),
            (await http.get("/nowhere"), 404),
            (await http.post("/v1/score", json={"prompts": 1}), 422),
            (await http.post("/v1/score", json=GOOD), 500),
        ):
            assert response.status_code == status
            assert response.headers["X-Request-Id"]


async def test_what_is_logged_of_a_request(lines: list[dict[str, Any]]) -> None:
    async with running(FakeEngine()) as (http, _):
        lines.clear()
        answer = await http.post("/v1/score", json=GOOD, headers={"X-Request-Id": "r1"})
        usage = answer.json()["usage"]
        await http.post("/v1/score", json=GOOD, headers={"X-Request-Id": "r2"})
        await http.post("/v1/score", json={**GOOD, "prompts": ["p"] * 51}, headers={"X-Request-Id": "r3"})
        await http.post("/v1/score", json={**GOOD, "labels": [" a", " a b"]}, headers={"X-Request-Id": "r4"})
        await http.post("/v1/score", json={"prompts": "x"}, headers={"X-Request-Id": "r5"})
        await http.get("/secret-path", headers={"X-Request-Id": "r6"})
        await http.get("/readyz")
    events = [(line["request_id"], line["event"]) for line in lines]
    assert events == [
        ("r1", "request accepted"),
        ("r1", "request finished"),
        ("r2", "request accepted"),
        ("r2", "request finished"),
        ("r3", "request refused"),
        ("r4", "request refused"),
        ("r5", "request refused"),
        ("r6", "request refused"),
    ]
    assert {line.get("experiment") for line in lines[:6]} == {"fish"}
    first = {key: lines[1][key] for key in ("outcome", "prompts", "reads", "computed_tokens", "cached_tokens")}
    assert first == {
        "outcome": "answered",
        "prompts": 1,
        "reads": usage["num_reads"],
        "computed_tokens": usage["computed_tokens"],
        "cached_tokens": usage["cached_tokens"],
    }
    assert (lines[0]["reads"], lines[0]["known_reads"], lines[2]["reads"], lines[2]["known_reads"]) == (1, 0, 0, 1)
    assert lines[3]["read_cache_prompts"] == 1
    assert (lines[4]["outcome"], lines[4]["code"]) == ("too_large", "request_too_large")
    assert lines[5]["outcome"] == "invalid"
    assert (lines[6]["path"], lines[6]["status"]) == ("/v1/score", 422)
    assert (lines[7]["path"], lines[7]["status"]) == ("unknown", 404)


async def test_neither_texts_nor_keys_are_logged(lines: list[dict[str, Any]]) -> None:
    class Buggy(FakeEngine):
        async def read(self, token_ids: Any, *rest: Any) -> Any:
            if len(token_ids) > 8:
                raise LookupError("TEXT-0")
            return await super().read(token_ids, *rest)

    headers = {"Authorization": "Bearer TEXT-KEY"}
    async with running(Buggy()) as (http, _):
        for body in (
            {**GOOD, "prompts": ["TEXT-1 is"]},
            {**GOOD, "prompts": ["TEXT-2 " * 9]},
            {**GOOD, "prompts": ["a"], "labels": [" TEXT-3", " TEXT-3"]},
            {**GOOD, "prompts": ["a"], "labels": ["TEXT-4 x", "TEXT-4"]},
            {**GOOD, "prompts": ["a"], "labels": [""], "terminator": "TEXT-5"},
            {**GOOD, "prompts": {"TEXT-6": 1}},
            {**GOOD, "experiment": "TEXT 7"},
            {**GOOD, "model": "TEXT-8"},
            "TEXT-9",
        ):
            await http.post("/v1/score", json=body, headers=headers)
            await http.post("/v1/score?key=TEXT-10", json=body, headers={**headers, "Accept": "application/x-ndjson"})
        await http.get("/TEXT-11", headers=headers)
    assert len(lines) > 18
    assert "TEXT" not in json.dumps(lines)


async def test_metrics_agree_with_what_answers_say() -> None:
    async with running(FakeEngine()) as (http, _):
        shared = " w" * 40
        bodies = [
            {**GOOD, "prompts": [shared + " a:", shared + " b:"]},
            {**GOOD, "prompts": [shared + " a:", "other"], "experiment": "second"},
        ]
        usages = [(await http.post("/v1/score", json=body)).json()["usage"] for body in bodies]
        assert (await http.post("/v1/score", json={**GOOD, "prompts": ["p"] * 51})).status_code == 413
        assert (await http.post("/v1/score", json={**GOOD, "model": "nobody"})).status_code == 422
        found = await metrics(http)
    for name in ("computed_tokens", "cached_tokens"):
        assert found[f"icm_{name}_total"] == sum(usage[name] for usage in usages) > 0
        assert found[f"icm_experiment_{name}_total,experiment=second,tenant=anyone"] == usages[1][name]
    assert found["icm_reads_total"] == sum(usage["num_reads"] for usage in usages) == 3
    assert found["icm_prompts_total"] == 4
    assert found["icm_read_cache_reads_total"] == 1
    assert (
        found["icm_read_cache_tokens_total"]
        == found["icm_experiment_read_cache_tokens_total,experiment=second,tenant=anyone"]
        == 41
    )
    assert found["icm_requests_total,outcome=answered"] == 2
    assert found["icm_requests_total,outcome=too_large"] == found["icm_requests_total,outcome=invalid"] == 1
    assert found["icm_request_duration_seconds_count"] == found["icm_queue_wait_seconds_count"] == 2
    assert found["icm_read_duration_seconds_count"] == 3
    assert found["icm_http_responses_total,status=413"] == 1
    assert found["icm_queued_reads,experiment=fish,tenant=anyone"] == 0
    assert found["icm_read_cache_memory_bytes"] > 0
    assert found["icm_ready"] == 1
    assert "process_resident_memory_bytes" in found


async def test_what_waits_is_reported_and_an_overfull_scorer_s_refusals_are_counted() -> None:
    class Stuck(FakeEngine):
        """Answers the read that is made before it is ready, and then none."""

        def __init__(self) -> None:
            super().__init__(max_concurrent_reads=4)
            self.has_answered = False

        async def read(self, *arguments: Any, **named: Any) -> ReadAnswer:
            if self.has_answered:
                await asyncio.Event().wait()
            self.has_answered = True
            return await super().read(*arguments, **named)

    async with running(Stuck()) as (http, app):
        body = {**GOOD, "prompts": [f"w {k}" for k in range(45)]}
        asking = asyncio.create_task(http.post("/v1/score", json=body))
        async with asyncio.timeout(10):
            while app.state.scoring.scorer.dispatcher.num_reads < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await http.post("/v1/score", json=body)).status_code == 429
        found = await metrics(http)
        page = (await http.get("/v1/experiments")).json()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        after = await metrics(http)
    assert found["icm_queued_reads,experiment=fish,tenant=anyone"] == 45
    assert found["icm_queued_tokens,experiment=fish,tenant=anyone"] > 0
    assert found["icm_open_requests,experiment=fish,tenant=anyone"] == 1
    assert found["icm_engine_reads"] == 4
    assert found["icm_interleaved_experiments"] == 1
    assert found["icm_requests_total,outcome=busy"] == 1
    assert page["engine"]["reads"] == 4
    assert page["experiments"][0]["waiting"] == {
        "requests": 1,
        "reads": 45,
        "tokens": found["icm_queued_tokens,experiment=fish,tenant=anyone"],
    }
    assert page["experiments"][0]["state"] == "at work"
    assert after["icm_requests_total,outcome=cancelled"] == 1
    assert after["icm_open_requests,experiment=fish,tenant=anyone"] == after["icm_engine_reads"] == 0


async def test_the_number_of_experiments_reported_is_bounded() -> None:
    async with running(FakeEngine()) as (http, _):
        for number in range(100):
            body = {**GOOD, "experiment": f"e{number}", "prompts": [f"w {number}"]}
            assert (await http.post("/v1/score", json=body)).status_code == 200
        found, page = await metrics(http), (await http.get("/v1/experiments")).json()
    names = {row["experiment"] for row in page["experiments"]}
    assert names == {f"e{number}" for number in range(36, 100)}
    assert sum(name.startswith("icm_experiment_computed_tokens_total") for name in found) == 64
    assert found["icm_prompts_total"] == page["all"]["total"]["prompts"] == 100


async def test_experiments_are_reported_with_share_and_times() -> None:
    async with running(FakeEngine()) as (http, _):
        for name, size in (("big", 30), ("small", 10)):
            body = {**GOOD, "experiment": name, "prompts": [f"{name} {k}" for k in range(size)]}
            await http.post("/v1/score", json=body)
        page = (await http.get("/v1/experiments")).json()
    big, small = page["experiments"]
    assert (big["experiment"], small["experiment"]) == ("big", "small")
    assert big["share"] == 3 * small["share"] == pytest.approx(0.75)
    assert 0 < big["request_s"]["p50"] <= big["request_s"]["p95"]
    assert big["requests"] == {"answered": 1}
    assert big["state"] == "idle"
    assert big["lately"]["reads"] == big["total"]["reads"] == 30
    assert page["all"]["lately"]["reads"] == 40
    assert (page["ready"], page["status"], page["model"]["name"]) == (True, "ready", "fake")


async def test_it_can_be_watched_while_it_loads() -> None:
    async def slow() -> FakeEngine:
        await asyncio.Event().wait()
        raise AssertionError

    app = create_app(slow)
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://s") as http:
        page = (await http.get("/v1/experiments")).json()
        assert (page["ready"], page["status"]) == (False, "the model is loading")
        assert page["experiments"] == []
        assert (await metrics(http))["icm_ready"] == 0
        assert (await http.get("/")).status_code == 200


@pytest.mark.slow
async def test_an_engine_that_dies_without_work_is_noticed() -> None:
    class Mortal(FakeEngine):
        dead = False

        async def check(self) -> None:
            if self.dead:
                raise EngineDiedError("its process was killed")

    engine = Mortal()
    async with running(engine) as (http, app):
        assert (await http.get("/readyz")).status_code == 200
        engine.dead = True
        async with asyncio.timeout(10):
            await app.state.scoring.failed.wait()
        response = await http.get("/readyz")
        assert response.status_code == 503
        assert "its process was killed" in response.json()["error"]["message"]
        assert (await http.get("/healthz")).status_code == 200


async def test_an_engine_that_hangs_in_its_first_read_is_noticed() -> None:
    class Hanging(FakeEngine):
        async def read(self, *_: Any, **__: Any) -> ReadAnswer:
            await asyncio.Event().wait()
            raise AssertionError

        async def check(self) -> None:
            raise EngineDiedError("it ended none of its reads")

    async def make_engine() -> Hanging:
        return Hanging()

    app = create_app(make_engine)
    async with app.router.lifespan_context(app), asyncio.timeout(10):
        await app.state.scoring.failed.wait()
    assert app.state.scoring.failure == "the engine died: it ended none of its reads"


async def test_a_draining_scorer_takes_nothing_and_ends_when_all_is_answered() -> None:
    async with running(FakeEngine(delay_s=0.5)) as (http, app):
        stopped = asyncio.Event()
        draining = Draining(app.state.scoring, 30.0, stopped.set)
        asking = asyncio.create_task(http.post("/v1/score", json=GOOD))
        async with asyncio.timeout(10):
            while not app.state.scoring.num_under_way:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        draining.signalled()
        for response in (await http.get("/readyz"), await http.post("/v1/score", json=GOOD)):
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "draining"
            assert "draining" in response.json()["error"]["message"]
            assert int(response.headers["Retry-After"]) > 0
        assert (await http.get("/healthz")).status_code == 200
        assert (await metrics(http))["icm_ready"] == 0
        assert (await http.get("/v1/experiments")).json()["status"].startswith("draining")
        assert not stopped.is_set()
        assert (await asking).status_code == 200
        async with asyncio.timeout(10):
            await stopped.wait()


async def test_draining_has_a_limit_and_a_second_signal_does_not_wait_for_it() -> None:
    async with running(FakeEngine(delay_s=0.1)) as (http, app):
        app.state.scoring.scorer.engine._delay_s = 60
        asking = asyncio.create_task(http.post("/v1/score", json=GOOD))
        async with asyncio.timeout(10):
            while not app.state.scoring.num_under_way:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for limit_s, signals in ((0.05, 1), (3600.0, 2)):
            stopped = asyncio.Event()
            draining = Draining(app.state.scoring, limit_s, stopped.set)
            for _ in range(signals):
                draining.signalled()
            async with asyncio.timeout(10):
                await stopped.wait()
        assert app.state.scoring.num_under_way == 1
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_the_page_loads_nothing_from_elsewhere() -> None:
    async with running(FakeEngine()) as (http, _):
        response = await http.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r"(?:https?:)?//\w", response.text)
    assert not re.search(r"<(?:script|style|img|iframe)[^>]+(?:src|href)", response.text)
