"""What a scorer shows those who meet it first: load balancers, OpenAI clients, browsers, pages that mean harm."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.adapter_files import save_adapter

from icm_client.contract.wire import STREAM_TYPE
from icm_server.auth.keys_file import add_key
from icm_server.config import AdapterConfig
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app
from icm_server.middleware.access import Keyring

Asking = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
HEALTH = ("/healthz", "/health", "/livez", "/ping")
PAGES = (
    "/",
    "/docs",
    "/openapi.json",
    "/metrics",
    "/v1/model",
    "/v1/models",
    "/v1/adapters",
    "/v1/experiments",
    "/readyz",
    *HEALTH,
)


async def make_engine() -> FakeEngine:
    return FakeEngine()


@asynccontextmanager
async def asking(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(make_engine, **settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://scorer") as http,
    ):
        await app.state.scoring.startup_ended.wait()
        yield http


@pytest.mark.parametrize("path", HEALTH)
async def test_health_by_all_its_names(path: str, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.yaml", "alice")
    for settings in ({}, {"keyring": Keyring(tmp_path / "keys.yaml")}):
        async with asking(**settings) as http:
            assert (await http.get(path)).json() == {"status": "ok"}


@pytest.mark.parametrize("path", PAGES)
async def test_head_is_get_without_the_body(path: str) -> None:
    async with asking() as http:
        got, head = await http.get(path), await http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    if path not in ("/metrics", "/v1/experiments"):  # they change
        assert head.headers.get("content-length") == got.headers.get("content-length")


async def test_head_opens_nothing(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.yaml", "alice")
    async with asking(keyring=Keyring(tmp_path / "keys.yaml")) as http:
        assert (await http.head("/healthz")).status_code == 200
        assert (await http.head("/v1/model")).status_code == 401
        headers = {"Authorization": f"Bearer {key}"}
        assert (await http.head("/v1/model", headers=headers)).status_code == 200
        assert (await http.head("/v1/score", headers=headers)).status_code == 405
        assert (await http.head("/none", headers=headers)).status_code == 404


def given(folder: Path) -> AdapterConfig:
    return AdapterConfig(given={name: str(save_adapter(folder / name)) for name in ("bobs", "alices")})


async def test_models_in_openai_s_shape(tmp_path: Path) -> None:
    async with asking(adapters=given(tmp_path)) as http:
        found = (await http.get("/v1/models")).json()
    assert found["object"] == "list"
    assert [card["id"] for card in found["data"]] == ["fake", "base", "alices", "bobs"]
    for card in found["data"]:
        assert (card["object"], card["owned_by"], card["root"]) == ("model", "icm-server", "fake")
        assert isinstance(card["created"], int)


async def test_a_key_sees_its_own_adapters(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.yaml", "bob", adapters=("bobs",))
    async with asking(keyring=Keyring(tmp_path / "keys.yaml"), adapters=given(tmp_path)) as http:
        assert (await http.get("/v1/models")).status_code == 401
        found = (await http.get("/v1/models", headers={"Authorization": f"Bearer {key}"})).json()
    assert [card["id"] for card in found["data"]] == ["fake", "base", "bobs"]


async def test_nothing_names_an_adapter_that_the_key_may_not_use(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.yaml", "bob", adapters=("bob*",))
    async with asking(keyring=Keyring(tmp_path / "keys.yaml"), adapters=given(tmp_path)) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        body = {"prompts": ["Word: eel"], "labels": [" living"]}
        answers = [await http.get(path) for path in PAGES]
        answers += [
            await http.post("/v1/score", json={**body, "model": model}, headers={"Accept": accepted})
            for model in ("bobs", "bobs-other", "alices")
            for accepted in (STREAM_TYPE, "application/json")
        ]
    page = "".join(each.text for each in answers)
    assert "bobs" in page
    assert page.count("alices") == 2  # where bob has named it
    assert [each.status_code for each in answers[-6:]] == [200, 200, 422, 422, 403, 403]


LOCAL = [
    "localhost",
    "LOCALHOST:8000",
    "a.localhost",
    "127.0.0.1",
    "127.0.0.1:8000",
    "[::1]:8000",
    "10.1.2.3",
    "scorer:80",
]
EVIL = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example."]
BROKEN = ["", "a b", "evil.example/", "user@127.0.0.1", "a,b", "[::1", "::1", "a:b:c", "127.0.0.1:999999", "\xe9"]


async def status(http: httpx.AsyncClient, host: str, path: str = "/v1/model") -> tuple[int, str]:
    response = await http.get(path, headers=[(b"Host", host.encode("latin-1"))])
    return response.status_code, response.json().get("error", {}).get("code", "")


async def test_without_keys_it_answers_only_by_names_that_no_page_has() -> None:
    async with asking() as http:
        for host in LOCAL:
            assert await status(http, host) == (200, "")
        for host in EVIL:
            for path in ("/", "/healthz", "/v1/model", "/docs", "/none"):
                assert await status(http, host, path) == (421, "unknown_host")
        for host in BROKEN:
            assert await status(http, host) == (400, "bad_host")
        message = (await http.get("/v1/model", headers={"Host": "gpu.example"})).json()["error"]["message"]
        assert "--allow-host gpu.example" in message
        both = [(b"Host", b"127.0.0.1"), (b"Host", b"evil.example")]
        assert (await http.get("/v1/model", headers=both)).status_code == 400


async def test_names_can_be_allowed() -> None:
    async with asking(hosts=("GPU.example", "")) as http:
        assert await status(http, "gpu.Example:8000") == (200, "")
        assert await status(http, "gpu.example.") == (200, "")
        assert await status(http, "evil.gpu.example") == (421, "unknown_host")
    async with asking(hosts=("*",)) as http:
        assert await status(http, "evil.example") == (200, "")


async def test_with_keys_a_name_gives_nothing_away(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.yaml", "alice")
    async with asking(keyring=Keyring(tmp_path / "keys.yaml")) as http:
        assert await status(http, "gpu.example", "/healthz") == (200, "")
        assert await status(http, "gpu.example") == (401, "no_key")
        assert await status(http, "a b") == (400, "bad_host")
        headers = {"Authorization": f"Bearer {key}", "Host": "gpu.example"}
        assert (await http.get("/v1/model", headers=headers)).status_code == 200


async def test_the_documentation_loads_nothing_and_runs_nothing() -> None:
    async with asking() as http:
        page, document = await http.get("/docs"), (await http.get("/openapi.json")).json()
        assert (await http.get("/redoc")).status_code == 404
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<(script|iframe|img|object|embed|form)|\son\w+=|@import|url\(", page.text)
    assert not re.search(r"(?:href|src)=.(?:https?:)?//", page.text)
    for path in document["paths"]:
        assert f"</b>{path}" in page.text
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page.text
    body = document["paths"]["/v1/score"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for name, field in body["properties"].items():
        assert field["description"], name
    assert "Texts, each sent once; prefixes and prompts refer to them by index." in page.text
    assert "at most 2,592,000" in page.text
    links = set(re.findall(r'href="#(\w+)"', page.text))
    assert links <= set(document["components"]["schemas"])


async def test_the_document_lists_all_paths_for_programs() -> None:
    async with asking() as http:
        document = (await http.get("/openapi.json")).json()
        paths = document["paths"]
        assert {*HEALTH, "/readyz", "/v1/models", "/v1/model", "/v1/score", "/v1/tokens"} <= set(paths)
        names = [each["operationId"] for path in paths.values() for each in path.values()]
        assert len(names) == len(set(names))
        for path, operations in paths.items():
            if "get" in operations:
                assert (await http.get(path)).status_code == 200
            await asyncio.sleep(0)
