"""A scorer with keys, over HTTP: what is guarded, who gets in, and what is never said."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route
from tests.adapter_files import save_adapter

from icm_client import AccessError, ScorerClient, ScoreRequest
from icm_server.auth.keyring import Keyring
from icm_server.auth.keys_file import add_key
from icm_server.auth.open_paths import OPEN_PATHS
from icm_server.auth.tenant import Tenant
from icm_server.config import AdapterConfig, Limits, ScoringConfig
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

GOOD: dict[str, Any] = {"prompts": ["Word: salmon\nGroup:"], "labels": [" living", " object"]}


class Guarded(NamedTuple):
    app: FastAPI
    http: httpx.AsyncClient
    alice: str
    bob: str
    admin: str


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    path = tmp_path / "keys.yaml"
    alice = add_key(path, "alice")
    bob = add_key(path, "bob", experiments=("paper-*",), adapters=("first",), isolated=True)

    async def make_engine() -> FakeEngine:
        return FakeEngine()

    adapters = {name: str(save_adapter(tmp_path / name, seed)) for seed, name in enumerate(("first", "second"))}
    admin = add_key(path, "carol", admin=True)
    scoring = ScoringConfig(limits=Limits(max_requests=12, max_reads=100))
    app = create_app(
        make_engine,
        scoring=scoring,
        keyring=Keyring(path),
        max_body_bytes=10_000,
        adapters=AdapterConfig(given=adapters),
    )
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://scorer") as http,
    ):
        await app.state.scoring.startup_ended.wait()
        yield Guarded(app, http, alice, bob, admin)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_every_path_but_the_health_checks_asks_for_a_key(guarded: Guarded) -> None:
    paths = {route.path for route in guarded.app.routes if isinstance(route, Route)}
    assert {"/v1/score", "/v1/model", "/docs", "/openapi.json"} <= paths
    assert paths > OPEN_PATHS
    unknown = {"/", "/metrics", "/v1/experiments", "/no/such", "/healthz/", "/HEALTHZ", "//healthz", "/readyz/x"}
    for path in paths | unknown:
        for method in ("GET", "POST", "OPTIONS", "HEAD", "DELETE"):
            response = await guarded.http.request(method, path)
            if path in OPEN_PATHS:
                assert response.status_code in (200, 405)
                continue
            assert response.status_code == 401, path
            challenges = response.headers.get_list("WWW-Authenticate")
            assert [challenge.split()[0] for challenge in challenges] == ["Bearer", "Basic"], (
                "a browser reads one of each"
            )
            if method != "HEAD":
                assert response.json()["error"]["code"] == "no_key"
    assert (await guarded.http.get("/healthz")).status_code == 200
    assert (await guarded.http.get("/readyz")).json()["status"] == "ready"


@pytest.mark.parametrize("path", ["/healthz?x", "/%68ealthz"])
async def test_an_open_path_is_the_one_that_is_routed(guarded: Guarded, path: str) -> None:
    """What is judged is the path that the router sees, however it was written."""
    assert (await guarded.http.get(path)).json() == {"status": "ok"}


async def test_a_key_opens(guarded: Guarded) -> None:
    basic = base64.b64encode(f"anything:{guarded.alice}".encode()).decode()
    for headers in (bearer(guarded.alice), {"Authorization": f"Basic {basic}"}):
        assert (await guarded.http.get("/v1/model", headers=headers)).status_code == 200
        response = await guarded.http.post("/v1/score", json=GOOD, headers=headers)
        assert response.status_code == 200
        assert len(response.json()["logprobs"]) == 1
    assert (await guarded.http.get("/no/such", headers=bearer(guarded.alice))).status_code == 404


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "Digest", ""])
async def test_a_wrong_key_does_not(guarded: Guarded, scheme: str) -> None:
    for key in (guarded.alice[:-1], guarded.alice + "x", "", "icm_", "\xe9", base64.b64encode(b"alice:x").decode()):
        headers = [(b"Authorization", f"{scheme} {key}".encode("latin-1"))]
        response = await guarded.http.post("/v1/score", json=GOOD, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "wrong_key"
        assert "icm_" not in response.text


async def test_a_key_is_for_its_own_experiments_and_adapters(guarded: Guarded) -> None:
    async def ask(key: str, **changes: Any) -> tuple[int, str]:
        response = await guarded.http.post("/v1/score", json={**GOOD, **changes}, headers=bearer(key))
        return response.status_code, response.json().get("error", {}).get("code", "")

    assert await ask(guarded.alice, experiment="alice-1") == (200, "")
    assert await ask(guarded.alice, experiment="paper-1") == (403, "not_your_experiment")
    assert await ask(guarded.bob, experiment="paper-1", model="first") == (200, "")
    assert await ask(guarded.bob, experiment="alice-1") == (403, "not_your_experiment")
    assert await ask(guarded.bob, model="second") == (403, "not_your_model")
    assert await ask(guarded.bob, model="none") == (403, "not_your_model")  # whether there is one is not said
    assert await ask(guarded.alice, model="none") == (422, "unknown_model")
    assert await ask(guarded.alice, priority=4) == (403, "not_your_priority")


async def test_a_stranger_is_refused_before_the_body_is_looked_at(guarded: Guarded) -> None:
    for content, headers in (
        (b"x" * 20_000, {}),
        (b"\x1f\x8b", {"Content-Encoding": "gzip"}),
        (b"{", {"Content-Encoding": "br"}),
    ):
        assert (await guarded.http.post("/v1/score", content=content, headers=headers)).status_code == 401


async def test_keys_are_in_no_log_and_no_answer(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "icm_" + "w" * 43
    for key in (guarded.alice, wrong):
        for path, changes in (("/v1/score", {}), ("/v1/score", {"experiment": "other"}), ("/no/such", {})):
            response = await guarded.http.post(path, json={**GOOD, **changes}, headers=bearer(key))
            assert key not in response.text
            assert key not in str(response.headers)
    for key in (guarded.alice, wrong):
        assert key not in caplog.text


async def test_the_client_says_what_a_key_lacks(guarded: Guarded) -> None:
    transport = httpx.ASGITransport(app=guarded.app)
    request = ScoreRequest(prompts=["a"], labels=[" x", " y"])
    async with ScorerClient("http://scorer", transport=transport) as client:
        with pytest.raises(AccessError, match="--api-key-file"):
            await client.wait_ready(30)
    async with ScorerClient("http://scorer", transport=transport, api_key=guarded.bob) as client:
        await client.wait_ready(30)
        assert len((await client.score(request)).logprobs) == 1
        with pytest.raises(AccessError, match="not 'alice'") as raised:
            await client.score(request.model_copy(update={"experiment": "alice"}))
        assert raised.value.status == 403


async def test_without_keys_everything_is_open() -> None:
    async def make_engine() -> FakeEngine:
        return FakeEngine()

    app = create_app(make_engine)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://scorer") as http,
    ):
        await app.state.scoring.startup_ended.wait()
        body = {**GOOD, "experiment": "any", "priority": 4}
        assert (await http.post("/v1/score", json=body, headers=bearer("whatever"))).status_code == 200
        assert (await http.get("/openapi.json")).status_code == 200


async def test_a_key_sees_its_own_work_and_an_admin_s_all(guarded: Guarded) -> None:
    asked = ((guarded.alice, "alice-secret", 3), (guarded.bob, "paper-secret", 2))
    for key, experiment, num in asked:
        body = {**GOOD, "experiment": experiment, "prompts": [f"{experiment} {k}" for k in range(num)]}
        assert (await guarded.http.post("/v1/score", json=body, headers=bearer(key))).status_code == 200

    async def seen(key: str) -> tuple[dict[str, Any], str]:
        page, metrics = [await guarded.http.get(path, headers=bearer(key)) for path in ("/v1/experiments", "/metrics")]
        return page.json(), metrics.text

    for key, experiment, num in asked:
        page, metrics = await seen(key)
        name = "alice" if key == guarded.alice else "bob"
        assert [(row["tenant"], row["experiment"]) for row in page["experiments"]] == [(name, experiment)]
        assert page["all"]["total"]["prompts"] == page["all"]["lately"]["reads"] == num
        assert page["all"]["share"] < 1
        assert not page["shows_tenants"]
        assert f'icm_queued_reads{{experiment="{experiment}",tenant="{name}"}} 0.0' in metrics
        for other in ("bob", "paper-secret", "carol") if name == "alice" else ("alice", "carol"):
            assert other not in metrics + json.dumps({**page, "model": None})
        assert "process_resident_memory_bytes" not in metrics
    page, metrics = await seen(guarded.admin)
    assert {(row["tenant"], row["experiment"]) for row in page["experiments"]} == {
        ("alice", "alice-secret"),
        ("bob", "paper-secret"),
    }
    assert page["all"]["total"]["prompts"] == 5
    assert page["shows_tenants"]
    assert 'icm_experiment_computed_tokens_total{experiment="paper-secret",tenant="bob"}' in metrics
    assert "process_resident_memory_bytes" in metrics
    page, metrics = await seen(guarded.alice)
    assert page["model"]["max_prompts"] == 50


@pytest.mark.slow
async def test_one_key_s_hundred_connections_have_nobody_else_s_requests_refused(guarded: Guarded) -> None:
    guarded.app.state.scoring.scorer.engine._delay_s = 0.01
    done = asyncio.Event()
    statuses: Counter[int] = Counter()

    async def flood(number: int) -> None:
        count = 0
        while not done.is_set():
            body = {**GOOD, "experiment": f"alice-{number}-{count}", "prompts": [f"{number} {count}"]}
            response = await guarded.http.post("/v1/score", json=body, headers=bearer(guarded.alice))
            statuses[response.status_code] += 1
            if response.status_code == 429:
                error = response.json()["error"]
                assert "bob" not in error["message"]
                assert error["message"].startswith("queue limit reached: this API key has")
                await asyncio.sleep(0.001)
            count += 1

    async def ask(number: int) -> None:
        for count in range(20):
            body = {**GOOD, "experiment": "bob", "prompts": [f"bob {number} {count}"]}
            assert (await guarded.http.post("/v1/score", json=body, headers=bearer(guarded.bob))).status_code == 200

    flooding = [asyncio.create_task(flood(number)) for number in range(100)]
    while not statuses[429]:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await asyncio.gather(*map(ask, range(3)))
    done.set()
    await asyncio.gather(*flooding)
    assert set(statuses) == {200, 429}


async def test_where_no_request_fits_the_body_is_not_looked_at(guarded: Guarded) -> None:
    scorer = guarded.app.state.scoring.required()
    held = [scorer.admission.admit("alice", 1, Tenant(name="alice")) for _ in range(6)]
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    async def ask(key: str) -> httpx.Response:
        return await guarded.http.post("/v1/score", content=b"no gzip", headers=headers | bearer(key))

    refused = await ask(guarded.alice)
    assert refused.status_code == 429
    assert refused.json()["error"]["details"] == {"requests": 1, "held": 6, "limit": 6}
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["Accept-Encoding"] == "zstd, gzip"
    assert (await ask(guarded.bob)).status_code == 400
    assert scorer.counters.total("alice").outcomes == {"busy": 1}
    for ticket in held:
        ticket.close()
    assert (await ask(guarded.alice)).status_code == 400
