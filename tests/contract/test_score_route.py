"""The scorer over HTTP with the fake engine: its answers, and the error for every bad input."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from icm_client.contract.wire import ScoreResponse
from icm_server.auth.tenant import ANYONE
from icm_server.engines.base import EngineDiedError, ReadAnswer
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import EngineFactory, create_app

MAX_BODY_BYTES = 20_000
GOOD: dict[str, Any] = {"prompts": ["Word: salmon\nGroup:"], "labels": [" living", " object"]}


def factory(engine: FakeEngine) -> EngineFactory:
    async def make_engine() -> FakeEngine:
        return engine

    return make_engine


@asynccontextmanager
async def running(make_engine: EngineFactory) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    app = create_app(make_engine, max_body_bytes=MAX_BODY_BYTES)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://scorer") as http,
    ):
        yield http, app


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with running(factory(FakeEngine(max_prompt_tokens=100))) as (client, app):
        await app.state.scoring.startup_ended.wait()
        yield client


def error_of(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"code", "message", "details"}
    found: dict[str, Any] = body["error"]
    return found


async def test_the_short_form(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/score", json=GOOD)
    assert response.status_code == 200
    answer = ScoreResponse.model_validate(response.json())
    assert len(answer.logprobs) == 1
    assert len(answer.logprobs[0]) == 2
    assert answer.model.name == "fake"
    assert answer.usage.prompt_tokens == 4


async def test_the_tree_form_scores_joined_texts(http: httpx.AsyncClient) -> None:
    tree = {
        "segments": ["Word: cod\nGroup: living", "\n\nWord: cup\nGroup:"],
        "prefixes": [[None, 0]],
        "prompts": [[0, 1]],
        "labels": [[" living"], [" object", " thing"]],
        "terminator": "\n\n",
        "experiment": "seed1",
        "model": "base",
    }
    plain = {"prompts": ["Word: cod\nGroup: living\n\nWord: cup\nGroup:"], "labels": [" living", [" object", " thing"]]}
    answers = [(await http.post("/v1/score", json=body)).json()["logprobs"] for body in (tree, plain)]
    assert answers[0] == answers[1]


async def test_who_answers_and_whether(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert (await http.get("/readyz")).json() == {"status": "ready", "model": "fake"}
    assert (await http.get("/v1/model")).json()["max_prompt_tokens"] == 100


LONG = " w" * 101
BAD: list[tuple[str, dict[str, Any], str, Sequence[str]]] = [
    ("no prompts", {"prompts": []}, "invalid_request", ["prompts", "at least 1"]),
    ("no labels", {"labels": []}, "invalid_request", ["labels", "at least 1"]),
    ("a field that is none", {"prompt": "x"}, "invalid_request", ["prompt", "no such field"]),
    ("a prompt of another type", {"prompts": ["a", {}]}, "invalid_request", ["prompts.1", "valid string"]),
    ("a prompt that is an empty list", {"prompts": [[]]}, "invalid_request", ["prompts.0", "at least 1"]),
    ("an experiment with a space", {"experiment": "a b"}, "invalid_request", ["experiment"]),
    ("an unknown segment", {"prompts": [[None, 2]]}, "bad_segment", ["prompt 0", "segment 2", "has 2 segments"]),
    ("a null segment", {"prompts": [[None, None]]}, "bad_segment", ["prompt 0", "segment null"]),
    ("a negative segment", {"prompts": [[None, -1]]}, "bad_segment", ["prompt 0", "segment -1"]),
    ("an unknown segment in a prefix", {"prefixes": [[None, 0], [0, 5]]}, "bad_segment", ["prefix 1", "segment 5"]),
    ("an unknown prefix", {"prompts": ["a", [3, 0]]}, "bad_prefix", ["prompt 1", "prefix 3"]),
    (
        "a prefix that refers forward",
        {"prefixes": [[1, 0], [None, 0]]},
        "bad_prefix",
        ["prefix 0", "prefix 1", "before"],
    ),
    ("a prefix that refers to itself", {"prefixes": [[0, 0]]}, "bad_prefix", ["prefix 0", "parents first"]),
    ("a prefix that there is not", {"prefixes": [[7, 0]]}, "bad_prefix", ["prefix 0", "prefix 7", "has 1 prefix,"]),
    ("an empty prompt", {"prompts": ["a", ""]}, "empty_prompt", ["prompt 1", "empty"]),
    ("a prompt of empty texts", {"segments": [""], "prompts": [[None, 0, 0]]}, "empty_prompt", ["prompt 0"]),
    ("an empty prefix alone", {"prefixes": [[None]], "prompts": [[0]]}, "empty_prompt", ["prompt 0"]),
    ("an empty label", {"labels": [" a", [" b", ""]]}, "empty_label", ["label 1"]),
    ("a label twice", {"labels": [" a", " a"]}, "duplicate_label", ["' a'", "label 0", "label 1"]),
    ("an alias twice", {"labels": [[" a", " b"], [" c", " b"]]}, "duplicate_label", ["' b'"]),
    (
        "a label that merges",
        {"prompts": ["Group: "], "labels": ["a"]},
        "label_merges",
        ["'a'", "prompt 0", "'Group: '"],
    ),
    ("a label that begins another", {"labels": [" a", " a b"]}, "ambiguous_labels", ["' a'", "' a b'", "terminator"]),
    (
        "labels that the terminator cannot tell apart",
        {"labels": [" a", " a b"], "terminator": " b"},
        "ambiguous_labels",
        ["' a'", "' a b'", "also with the terminator"],
    ),
    ("a label that merges with the terminator", {"terminator": "x"}, "label_merges", ["' living'", "'x'"]),
    ("a label of 1,001 characters", {"labels": ["x" * 1001, " b"]}, "invalid_request", ["labels.0", "1000"]),
    (
        "labels of too many tokens",
        {"labels": [[f"{' w' * 400} {k}" for k in range(11)], " b"]},
        "labels_too_long",
        ["4412", "4096"],
    ),
    ("an unknown model", {"model": "mine"}, "unknown_model", ["'mine'", "base"]),
    ("a prompt that is too long", {"prompts": ["a", LONG]}, "prompt_too_long", ["prompt 1", "101", "100"]),
    ("a label that is too long", {"prompts": [LONG[2:]], "labels": [" a b", " c"]}, "prompt_too_long", ["101", "100"]),
]


@pytest.mark.parametrize(("change", "code", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_requests_are_reported(
    http: httpx.AsyncClient, change: dict[str, Any], code: str, words: list[str]
) -> None:
    response = await http.post("/v1/score", json={"segments": ["a", " b"], **GOOD, **change})
    assert response.status_code == 422
    error = error_of(response)
    assert error["code"] == code
    assert all(word in error["message"] for word in words), error["message"]
    assert (await http.post("/v1/score", json=GOOD)).status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [('{"prompts', "not JSON"), ("", "empty"), ("[1]", "the body"), ("null", "body"), ("1e999", "the body")],
)
async def test_bodies_that_are_no_request(http: httpx.AsyncClient, body: str, words: str) -> None:
    response = await http.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert words in error_of(response)["message"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_what_is_not_called_json_is_not_read(http: httpx.AsyncClient, content_type: str) -> None:
    """A page of another site could make a browser send these without asking."""
    response = await http.post("/v1/score", content=json.dumps(GOOD), headers={"Content-Type": content_type})
    assert response.status_code == 415
    assert "Content-Type: application/json" in error_of(response)["message"]


async def test_json_may_name_its_characters(http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await http.post("/v1/score", content=json.dumps(GOOD), headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["score", "tokens"])
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [("special_tokens", True, 1), ("special_tokens", True, "true"), ("deadline_s", 9, "9"), ("deadline_s", 9, True)],
)
async def test_nothing_is_taken_for_what_it_is_not(
    http: httpx.AsyncClient, path: str, name: str, right: object, wrong: object
) -> None:
    asked: dict[str, Any] = {"texts": ["a"]} if path == "tokens" else {"prompts": ["a"], "labels": [" b", " c"]}
    assert (await http.post(f"/v1/{path}", json=asked | {name: right})).status_code == 200
    response = await http.post(f"/v1/{path}", json=asked | {name: wrong})
    assert response.status_code == 422
    assert name in error_of(response)["message"]


async def test_a_huge_wrong_input_is_not_echoed(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/score", json={**GOOD, "prompts": [{"x" * 9000: "y" * 9000}], "z" * 1000: 1})
    assert response.status_code == 422
    assert len(response.content) < 1000


async def test_a_body_that_is_too_large(http: httpx.AsyncClient) -> None:
    content = json.dumps({**GOOD, "prompts": ["x" * MAX_BODY_BYTES]}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    for body in (content, pieces()):  # its length announced, and not
        response = await http.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        error = error_of(response)
        assert error["code"] == "body_too_large"
        assert str(MAX_BODY_BYTES) in error["message"]


async def test_other_paths_and_methods(http: httpx.AsyncClient) -> None:
    for response, status, code in (
        (await http.get("/v2/score"), 404, "not_found"),
        (await http.get("/v1/score"), 405, "method_not_allowed"),
    ):
        assert response.status_code == status
        error = error_of(response)
        assert error["code"] == code
        assert "POST /v1/score" in error["message"]


async def test_while_the_engine_loads() -> None:
    go_on = asyncio.Event()

    async def slow() -> FakeEngine:
        await go_on.wait()
        return FakeEngine()

    async with running(slow) as (http, app):
        assert (await http.get("/healthz")).status_code == 200
        for response in (
            await http.get("/readyz"),
            await http.get("/v1/model"),
            await http.post("/v1/score", json=GOOD),
        ):
            assert response.status_code == 503
            assert error_of(response) == {"code": "not_ready", "message": "the model is loading", "details": {}}
        go_on.set()
        await app.state.scoring.startup_ended.wait()
        assert (await http.get("/readyz")).status_code == 200


class Dying(FakeEngine):
    """Answers its first read, dies at the second."""

    num_reads = 0

    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        self.num_reads += 1
        if self.num_reads > 1:
            raise EngineDiedError("its process was killed")
        return await super().read(token_ids, target_ids, *rest)


async def test_an_engine_that_does_not_start() -> None:
    async def broken() -> FakeEngine:
        raise OSError("no such weights")

    async with running(broken) as (http, app):
        await app.state.scoring.failed.wait()
        assert (await http.get("/healthz")).status_code == 200
        assert "no such weights" in error_of(await http.get("/readyz"))["message"]


async def test_an_engine_that_dies() -> None:
    async with running(factory(Dying())) as (http, app):
        await app.state.scoring.startup_ended.wait()
        assert (await http.get("/readyz")).status_code == 200
        response = await http.post("/v1/score", json=GOOD)
        assert response.status_code == 503
        assert error_of(response)["code"] == "engine_died"
        response = await http.get("/readyz")
        assert response.status_code == 503
        assert "its process was killed" in error_of(response)["message"]
        assert app.state.scoring.failed.is_set()


async def test_what_nobody_foresaw_has_the_same_shape() -> None:
    class Buggy(Dying):
        async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
            self.num_reads += 1
            return [][0] if self.num_reads > 1 else await FakeEngine.read(self, token_ids, target_ids, *rest)

    async with running(factory(Buggy())) as (http, app):
        await app.state.scoring.startup_ended.wait()
        response = await http.post("/v1/score", json=GOOD)
        assert response.status_code == 500
        assert error_of(response)["code"] == "scorer_failed"
        assert "IndexError" in error_of(response)["message"]


class Slow(FakeEngine):
    """Answers its first read; the others never end, and it counts those given up."""

    def __init__(self) -> None:
        super().__init__()
        self.num_reads = self.num_cancelled = 0
        self.begun = asyncio.Event()

    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        self.num_reads += 1
        if self.num_reads > 1:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.num_cancelled += 1
        return await super().read(token_ids, target_ids, *rest)


async def test_work_ends_when_the_scorer_is_stopped() -> None:
    engine = Slow()
    async with running(factory(engine)) as (http, app):
        await app.state.scoring.startup_ended.wait()
        asking = asyncio.create_task(http.post("/v1/score", json=GOOD))
        await engine.begun.wait()
        app.state.scoring.stopping.set()
        response = await asking
        assert response.status_code == 503
        assert "stopped" in error_of(response)["message"]
        assert engine.num_cancelled == 1
        assert (await http.get("/readyz")).status_code == 503


async def test_counting_tokens_ends_when_the_scorer_is_stopped() -> None:
    async with running(factory(FakeEngine())) as (http, app):
        await app.state.scoring.startup_ended.wait()
        lock = app.state.scoring.scorer.planning.lock
        async with lock.holding(lock.place(ANYONE, 1)):  # somebody else's
            asking = asyncio.create_task(http.post("/v1/tokens", json={"texts": ["Word: eel"]}))
            await asyncio.sleep(0.05)
            app.state.scoring.stopping.set()
            response = await asking
        assert response.status_code == 503
        assert "stopped" in error_of(response)["message"]


async def test_work_ends_when_the_caller_goes() -> None:
    engine = Slow()
    app = create_app(factory(engine))
    messages = [{"type": "http.request", "body": json.dumps(GOOD).encode(), "more_body": False}]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/score",
        "raw_path": b"/v1/score",
        "query_string": b"",
        "headers": [(b"host", b"scorer"), (b"content-type", b"application/json")],
        "scheme": "http",
        "server": ("scorer", 80),
        "client": ("caller", 1),
        "root_path": "",
    }
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await engine.begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app):
        await app.state.scoring.startup_ended.wait()
        await app(scope, receive, send)
    assert engine.num_cancelled == 1
