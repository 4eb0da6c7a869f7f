"""Bad requests over HTTP against the real engine: each gets an error of the one shape, and the next is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from icm_server.engines.base import Engine
from icm_server.engines.vllm import VllmEngine
from icm_server.http.app import create_app
from icm_server.scheduling.scoring import ScoringService

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

GOOD: dict[str, Any] = {"prompts": ["Word: salmon\nGroup:"], "labels": [" living", " object"]}


@pytest_asyncio.fixture(loop_scope="session")
async def http(tiny_engine: VllmEngine) -> AsyncIterator[httpx.AsyncClient]:
    async def never() -> Engine:
        raise AssertionError("the application's lifespan, which would close the shared engine, is not run")

    app = create_app(never)
    app.state.scoring.scorer = ScoringService(tiny_engine)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://scorer") as client:
        yield client
    app.state.scoring.scorer = None


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown segment": ({"prompts": [[None, 2]]}, "bad_segment"),
    "an unknown prefix": ({"prompts": ["a", [3, 0]]}, "bad_prefix"),
    "a prefix that refers forward": ({"prefixes": [[1, 0], [None, 0]]}, "bad_prefix"),
    "an empty prompt": ({"prompts": ["a", ""]}, "empty_prompt"),
    "a label without tokens": ({"labels": [" living", ""]}, "empty_label"),
    "a label twice": ({"labels": [" living", " living"]}, "duplicate_label"),
    "a label that merges with its prompt": ({"prompts": ["Group: "], "labels": ["living", " a"]}, "label_merges"),
    "a label that begins another": ({"labels": [" living", " living object"]}, "ambiguous_labels"),
    "an unknown model": ({"model": "mine"}, "unknown_model"),
}


@pytest.mark.parametrize(("change", "code"), BAD.values(), ids=BAD)
async def test_bad_requests_are_reported(http: httpx.AsyncClient, change: dict[str, Any], code: str) -> None:
    response = await http.post("/v1/score", json={"segments": ["a", " b"], **GOOD, **change})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == code, response.json()
    assert (await http.post("/v1/score", json=GOOD)).status_code == 200


async def test_a_prompt_longer_than_the_window(http: httpx.AsyncClient, tiny_engine: VllmEngine) -> None:
    limit = tiny_engine.info.max_prompt_tokens
    response = await http.post("/v1/score", json={**GOOD, "prompts": ["a", " salmon" * (limit + 1)]})
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "prompt_too_long"
    assert "prompt 1" in error["message"]
    assert str(limit) in error["message"]
    assert (await http.post("/v1/score", json=GOOD)).status_code == 200
