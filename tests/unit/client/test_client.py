"""The client against the real application with the fake engine, and against scorers that misbehave."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any

import httpx
import pydantic
import pytest
from tests.conftest import Serving

import icm_client
from icm_client import (
    AccessError,
    BusyError,
    DeadlineError,
    IcmError,
    ModelInfo,
    RequestError,
    ScorerClient,
    ScoreRequest,
    ScorerError,
    ScoreResponse,
    SyncScorerClient,
    UnavailableError,
    Usage,
)
from icm_client.contract.errors import TooLargeError, error_body
from icm_client.http.retry import RetryPolicy
from icm_client.score_fields import ScoreFields
from icm_server.config import Limits, ScoringConfig
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app
from icm_server.scheduling.scoring import ScoringService

REQUEST = ScoreRequest(
    segments=[
        "Word: cod\nGroup: living",
        "\n\nWord: cup\nGroup: object",
        "\n\nWord: hen\nGroup:",
        "\n\nWord: pan\nGroup:",
    ],
    prefixes=[[None, 0], [0, 1]],
    prompts=[[1, 2], [0, 3], "Word: cod\nGroup:", [1, 3], [0, 2], [None, 0, 1, 2]],
    labels=[" living", [" object", " thing"]],
    terminator="\n\n",
)
INFO = ModelInfo(
    name="m", digest="d", dtype="float32", engine="e", max_prompt_tokens=100, adds_bos=False, max_prompts=100
)
GOOD = ScoreResponse(logprobs=[[-0.5, -1.5]] * 6, usage=Usage(prompt_tokens=6), model=INFO)
QUICK = RetryPolicy(patience_s=5.0, busy_patience_s=5.0, first_wait_s=0.001, max_wait_s=0.002)

Handler = Callable[[httpx.Request], httpx.Response]


class Scripted:
    """A scorer that answers by a script; the last entry stays. Exceptions in it are raised, as a transport would."""

    def __init__(self, *script: httpx.Response | Exception):
        self._script = list(script)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self._script[min(len(self.requests), len(self._script)) - 1]
        if isinstance(step, Exception):
            raise step
        return step


def client_of(handler: Handler, **settings: Any) -> ScorerClient:
    return ScorerClient("http://scorer", transport=httpx.MockTransport(handler), **{"retry": QUICK, **settings})


def answer(response: ScoreResponse = GOOD) -> httpx.Response:
    return httpx.Response(200, content=response.model_dump_json())


def refusal(error: IcmError, **headers: str) -> httpx.Response:
    return httpx.Response(error.status, json=error_body(error), headers=headers)


@pytest.mark.parametrize("max_prompts", [1, 2, 4, 5])
async def test_answers_keep_the_order_however_a_batch_is_split(serving: Serving, max_prompts: int) -> None:
    async with serving() as whole, serving(max_prompts=max_prompts) as parts:
        expected, got = await whole.score(REQUEST), await parts.score(REQUEST)
    assert got.logprobs == expected.logprobs
    assert got.model == expected.model
    assert got.usage.prompt_tokens == expected.usage.prompt_tokens
    assert len({tuple(row) for row in got.logprobs}) > 3
    assert got.logprobs[0] == got.logprobs[5]  # the same text in two forms


@pytest.mark.parametrize("limit", ["max_prompts", "max_experiment_reads"])
async def test_requests_are_cut_by_the_limits_that_the_scorer_tells(serving: Serving, limit: str) -> None:
    limits = Limits.model_validate({limit: 4})
    async with serving() as whole, serving(scoring=ScoringConfig(limits=limits)) as limited:
        assert (await limited.model()).max_prompts == 4
        assert (await limited.score(REQUEST)).logprobs == (await whole.score(REQUEST)).logprobs


async def test_the_scorers_refusals_are_typed(scorer: ScorerClient) -> None:
    with pytest.raises(RequestError, match="no model 'other'"):
        await scorer.score(REQUEST.model_copy(update={"model": "other"}))
    with pytest.raises(RequestError, match="prompt 0"):
        await scorer.score(ScoreRequest(prompts=["word " * 9000], labels=[" a", " b"]))
    with pytest.raises(RequestError):
        await scorer.score(ScoreRequest(segments=["a"], prompts=[[4, 0]], labels=[" a", " b"]))


async def test_the_model_is_reported(scorer: ScorerClient) -> None:
    info = await scorer.model()
    assert (info.name, info.max_prompt_tokens) == ("fake", 8191)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("gone"),
        httpx.ReadTimeout("slow"),
        refusal(UnavailableError("loading")),
        refusal(BusyError("full"), **{"Retry-After": "0.001"}),
        httpx.Response(503, text="<html>proxy</html>"),
    ],
)
async def test_what_passes_is_retried(failure: httpx.Response | Exception) -> None:
    script = Scripted(failure, failure, answer())
    async with client_of(script) as client:
        assert await client.score(REQUEST) == GOOD
    assert len(script.requests) == 3
    assert len({request.content for request in script.requests}) == 1


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (refusal(RequestError("wrong")), RequestError),
        (refusal(AccessError("no")), AccessError),
        (refusal(ScorerError("broke")), ScorerError),
        (httpx.Response(404, json={"detail": "Not Found"}), RequestError),
    ],
)
async def test_what_stays_is_not_retried(failure: httpx.Response, kind: type[IcmError]) -> None:
    script = Scripted(failure, answer())
    async with client_of(script) as client:
        with pytest.raises(kind):
            await client.score(REQUEST)
    assert len(script.requests) == 1


@pytest.mark.parametrize("refused", [httpx.Response(413, text="too large"), refusal(TooLargeError("too many"))])
async def test_one_prompt_that_is_too_large_is_reported(refused: httpx.Response) -> None:
    script = Scripted(refused, answer())
    async with client_of(script) as client:
        with pytest.raises(RequestError) as raised:
            await client.score(ScoreRequest(prompts=["a"], labels=[" x", " y"]))
        assert raised.value.status == 413
    assert len(script.requests) == 1


async def test_retry_after_is_respected() -> None:
    """Longer than patience: given up at once, telling the wait."""
    script = Scripted(refusal(BusyError("full"), **{"Retry-After": "60"}), answer())
    async with client_of(script) as client:
        with pytest.raises(BusyError) as raised:
            await client.score(REQUEST)
    assert raised.value.retry_after_s == 60.0
    assert len(script.requests) == 1


async def test_patience_ends_with_the_reason() -> None:
    script = Scripted(httpx.ConnectError("refused"))
    async with client_of(script, retry=RetryPolicy(patience_s=0.5, first_wait_s=0.001)) as client:
        with pytest.raises(UnavailableError, match="icm-server serve") as raised:
            await client.score(REQUEST)
    assert "http://scorer" in raised.value.message
    assert "refused" in raised.value.message
    assert len(script.requests) > 1


@pytest.mark.parametrize(
    "change",
    [
        {"logprobs": [[-0.5, -1.5]] * 5},
        {"logprobs": [[-0.5, -1.5]] * 7},
        {"logprobs": [[-0.5]] * 6},
        {"logprobs": [[-0.5, -1.5, -3.0]] * 6},
        {"logprobs": [[-0.5, 0.7]] * 6},
        {"logprobs": [[-0.5, float("nan")]] * 6},
        {"logprobs": [[-0.5, float("-inf")]] * 6},
        {"logprobs": [[-0.5, None]] * 6},
        {"logprobs": "none"},
        {"model": {"name": "m"}},
        {"surplus": 1},
    ],
)
async def test_an_answer_that_does_not_fit_never_becomes_labels(change: dict[str, Any]) -> None:
    body = json.dumps(GOOD.model_dump() | change)
    script = Scripted(httpx.Response(200, content=body))
    async with client_of(script) as client:
        with pytest.raises(ScorerError) as raised:
            await client.score(REQUEST)
    assert "\n" not in raised.value.message
    assert len(script.requests) == 1


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b"[]", b"\xff"])
async def test_another_service_is_recognised(content: bytes) -> None:
    async with client_of(Scripted(httpx.Response(200, content=content))) as client:
        for call in (client.model(), client.score(REQUEST)):
            with pytest.raises(ScorerError, match="is it an icm-server"):
                await call


async def test_a_model_that_changes_between_parts_is_reported() -> None:
    def part(digest: str) -> httpx.Response:
        model = INFO.model_copy(update={"digest": digest})
        return answer(GOOD.model_copy(update={"logprobs": [[-0.5, -1.5]] * 3, "model": model}))

    async with client_of(Scripted(part("one"), part("two")), max_prompts=3) as client:
        with pytest.raises(ScorerError, match="changed its model"):
            await client.score(REQUEST)


@pytest.mark.parametrize("field", ["prompts", "segments", "labels"])
def test_half_a_character_is_reported_before_it_is_sent(field: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="unicode"):
        ScoreRequest.model_validate({"prompts": ["a"], "labels": [" x", " y"], field: ["a \ud800"]})


async def test_a_redirect_is_reported_and_not_followed() -> None:
    script = Scripted(httpx.Response(307, headers={"Location": "https://elsewhere/v1/score"}), answer())
    async with client_of(script, api_key="secret") as client:
        for call in (client.score(REQUEST), client.wait_ready(30.0)):
            script.requests.clear()
            with pytest.raises(RequestError, match="moved, to 'https://elsewhere/v1/score'"):
                await call
            assert len(script.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_an_answer_that_cannot_be_unpacked_is_reported(encoding: str) -> None:
    def damaged() -> httpx.Response:
        async def content() -> AsyncIterator[bytes]:
            yield b"this is not what the header says"

        return httpx.Response(200, headers={"Content-Encoding": encoding}, content=content())

    async with client_of(lambda request: damaged()) as client:
        for call in (client.model(), client.score(REQUEST)):
            with pytest.raises(ScorerError, match="cannot be decompressed"):
                await call


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 100_000, UnavailableError),
        (b"\xff", UnavailableError),
        (b'{"error": {"message": "' + b"x" * 2**21 + b'"}}', UnavailableError),
        (b'{"error": {"code": "c", "message": "' + b"x" * 10_000 + b'", "details": 3}}', UnavailableError),
    ],
)
async def test_an_error_of_any_kind_becomes_a_short_one(body: bytes, kind: type[IcmError]) -> None:
    async with client_of(Scripted(httpx.Response(503, content=body)), retry=RetryPolicy(patience_s=0.0)) as client:
        with pytest.raises(kind) as raised:
            await client.score(REQUEST)
    assert len(raised.value.message) <= 4000


async def test_waiting_for_a_scorer_ends_at_once_where_the_key_is_wrong() -> None:
    def guarded(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={}) if request.url.path == "/readyz" else refusal(AccessError("not yours"))

    async with client_of(guarded, api_key="secret") as client:
        with pytest.raises(AccessError, match="not yours"):
            await asyncio.wait_for(client.wait_ready(60.0), 30)


@pytest.mark.parametrize("form", ["0.02", "date"])
async def test_both_forms_of_retry_after(form: str) -> None:
    value = formatdate(time.time() + 2.0, usegmt=True) if form == "date" else form
    script = Scripted(refusal(BusyError("full"), **{"Retry-After": value}), answer())
    async with client_of(script) as client:
        assert await asyncio.wait_for(client.score(REQUEST), 30) == GOOD
    assert len(script.requests) == 2


async def test_a_deadline_counts_over_all_tries() -> None:
    script = Scripted(refusal(BusyError("full"), **{"Retry-After": "0.05"}))
    async with client_of(script) as client:
        with pytest.raises(DeadlineError):
            await asyncio.wait_for(client.score(REQUEST.model_copy(update={"deadline_s": 0.3})), 30)
    named = [json.loads(request.content)["deadline_s"] for request in script.requests]
    assert len(named) > 2
    assert named == sorted(named, reverse=True)
    assert 0 < named[-1] < named[0] <= 0.3


@pytest.mark.parametrize(
    ("announced", "encoding"),
    [(None, None), ("", None), ("br", None), ("gzip", "gzip"), ("zstd, gzip", "zstd"), ("GZIP;q=0.5,ZSTD", "zstd")],
)
async def test_bodies_are_compressed_by_what_the_scorer_takes(announced: str | None, encoding: str | None) -> None:
    request = ScoreRequest(prompts=["Word: cod\nGroup:" * 5000], labels=[" living", " object"])
    response = ScoreResponse(logprobs=[[-0.5, -1.5]], usage=Usage(), model=INFO)
    headers = {"Accept-Encoding": announced} if announced is not None else {}
    script = Scripted(
        httpx.Response(200, content=INFO.model_dump_json(), headers=headers),
        httpx.Response(200, content=response.model_dump_json(), headers=headers),
    )
    async with client_of(script) as client:
        await client.model()
        assert await client.score(request) == response
    sent = script.requests[1]
    assert sent.headers.get("Content-Encoding") == encoding
    content = httpx.Response(
        200, headers=dict.fromkeys(["Content-Encoding"], encoding or "identity"), content=sent.content
    )
    assert ScoreRequest.model_validate_json(content.content) == request
    assert (len(sent.content) < 10_000) == (encoding is not None)


@pytest.mark.parametrize("key", ["", "schl\u00fcssel", "two words", "line\nline", "\u2026", "\0"])
def test_a_key_that_cannot_be_one_is_reported_but_not_shown(key: str) -> None:
    with pytest.raises(RequestError, match="is not an API key") as raised:
        ScorerClient("http://scorer", api_key=key)
    assert not key or key not in raised.value.message
    assert "\n" not in raised.value.message


async def test_secrets_are_in_no_message() -> None:
    script = Scripted(httpx.ConnectError("refused"))
    url = "http://me:hunter2@scorer:8000"
    for where, key in ((url, None), ("http://scorer:8000", "s3cr3t")):
        client = ScorerClient(
            where, api_key=key, retry=RetryPolicy(patience_s=0), transport=httpx.MockTransport(script)
        )
        async with client:
            with pytest.raises(UnavailableError) as raised:
                await client.score(REQUEST)
            with pytest.raises(UnavailableError) as waited:
                await client.wait_ready(0.0)
        shown = (
            f"{raised.value!r} {raised.value.details} {waited.value!r} {client!r} {vars(client)!r} {client.base_url}"
        )
        for secret in ("hunter2", "s3cr3t"):
            assert secret not in shown
    with pytest.raises(RequestError, match="only one of them can be sent") as both:
        ScorerClient(url, api_key="s3cr3t")
    assert "hunter2" not in both.value.message
    assert "s3cr3t" not in both.value.message
    with pytest.raises(RequestError) as wrong:
        ScorerClient("http://me:hunter2@host:port")
    assert "hunter2" not in wrong.value.message


async def test_the_key_is_sent() -> None:
    script = Scripted(answer())
    async with client_of(script, api_key="secret") as client:
        await client.score(REQUEST)
    assert script.requests[0].headers["Authorization"] == "Bearer secret"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with ScorerClient(url, retry=RetryPolicy(patience_s=0.0)) as client:
        with pytest.raises(UnavailableError, match="icm-server serve") as raised:
            await client.model()
        assert url in raised.value.message
        with pytest.raises(UnavailableError, match="no scorer was ready") as raised:
            await client.wait_ready(0.0)
        assert raised.value.code == "not_ready"
        assert raised.value.message.count("icm-server serve") == 1
        assert url in raised.value.message
        assert "\n" not in raised.value.message


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://somewhere", "nonsense", "http://host:port", "http://"])
async def test_what_is_no_url_is_reported(url: str) -> None:
    async def ask() -> None:
        async with ScorerClient(url, retry=QUICK) as client:
            await client.wait_ready(0.0)

    with pytest.raises(RequestError, match="is not a URL of a scorer"):
        await ask()


async def test_waiting_ends_when_the_scorer_is_ready() -> None:
    script = Scripted(
        httpx.ConnectError("refused"),
        refusal(UnavailableError("the model is loading")),
        httpx.Response(200, json={"status": "ready"}),
        httpx.Response(200, content=INFO.model_dump_json()),
    )
    reasons: list[str] = []
    async with client_of(script) as client:
        assert await client.wait_ready(30.0, lambda reason, seconds: reasons.append(reason)) == INFO
    assert len(reasons) == 2
    assert "refused" in reasons[0]
    assert reasons[1] == "the model is loading"
    assert [request.url.path for request in script.requests] == ["/readyz"] * 3 + ["/v1/model"]


async def test_waiting_ends_at_the_deadline_also_if_nothing_is_answered() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with ScorerClient("http://scorer", transport=httpx.MockTransport(hang)) as client:
        with pytest.raises(UnavailableError, match=r"no answer within 1 s"):
            await asyncio.wait_for(client.wait_ready(0.1), 30)


def ready_transport() -> httpx.ASGITransport:
    """The application, ready without its lifespan, which a transport does not run."""

    async def no_engine() -> FakeEngine:
        raise AssertionError

    app = create_app(no_engine)
    app.state.scoring.scorer = ScoringService(FakeEngine())
    return httpx.ASGITransport(app=app)


def test_the_synchronous_face_answers_the_same() -> None:
    async def asynchronous() -> ScoreResponse:
        async with ScorerClient("http://scorer", transport=ready_transport()) as client:
            return await client.score(REQUEST)

    with SyncScorerClient("http://scorer", transport=ready_transport(), max_prompts=2) as client:
        info = client.wait_ready(30.0)
        assert info == client.model()
        got = client.score(REQUEST)
        with pytest.raises(RequestError, match="no model 'other'"):
            client.score(REQUEST.model_copy(update={"model": "other"}))
    assert got.logprobs == asyncio.run(asynchronous()).logprobs


async def test_the_synchronous_face_works_inside_a_running_loop() -> None:
    with SyncScorerClient("http://scorer", transport=ready_transport()) as client:
        assert len(client.score(REQUEST).logprobs) == 6


def test_the_synchronous_face_leaves_no_thread_behind_when_it_cannot_begin() -> None:
    before = threading.active_count()
    with pytest.raises(RequestError, match="is not a URL"):
        SyncScorerClient("http://host:port")
    assert threading.active_count() <= before


def test_a_program_ends_that_does_not_close_its_client() -> None:
    program = """
from icm_client import IcmError, SyncScorerClient
from icm_client.http.retry import RetryPolicy
client = SyncScorerClient("http://127.0.0.1:9", retry=RetryPolicy(patience_s=0))
try:
    client.model()
except IcmError as error:
    print(error.code)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "unavailable\n", "")


def test_what_is_exported_is_there_and_described() -> None:
    for name in icm_client.__all__:
        public = getattr(icm_client, name)
        assert public.__module__.startswith("icm_client.")
        methods = [each for each in vars(public).values() if inspect.isfunction(each) and each.__name__[0] != "_"]
        methods = [each for each in methods if each.__module__.startswith("icm_client.")]
        for each in (public, *methods):
            assert inspect.getdoc(each), f"{name}: {each.__name__}"
            assert not {"self", "return"} - set(each.__annotations__) & {"Any"}


async def test_fields_by_name_are_the_request(scorer: ScorerClient) -> None:
    """What the README's curl sends, as Python; a request object stays possible."""
    fields = {"prompts": ["Word: salmon\nGroup:"], "labels": [" living", " object"]}
    expected = await scorer.score(ScoreRequest.model_validate(fields))
    got = await scorer.score(prompts=["Word: salmon\nGroup:"], labels=[" living", " object"], priority=1)
    assert got.logprobs == expected.logprobs
    rows = [rows async for rows in scorer.stream(prompts=fields["prompts"], labels=fields["labels"])]
    assert [row for some in rows for row in some.logprobs] == expected.logprobs
    with SyncScorerClient("http://scorer", transport=ready_transport()) as client:
        answer = await asyncio.to_thread(client.score, prompts=fields["prompts"], labels=fields["labels"])
    assert answer.logprobs == expected.logprobs


def test_the_fields_by_name_are_those_of_a_request() -> None:
    assert set(ScoreFields.__annotations__) == set(ScoreRequest.model_fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "prompts: Field required"),
        ({"prompts": ["a"], "labels": [" x"], "experimnt": "mine"}, "experimnt: no such field"),
        ({"prompts": ["a"], "labels": [" x", 3]}, "labels.1: Input should be a valid string"),
        ({"prompts": [], "labels": [" x"]}, "prompts: List should have at least 1 item"),
    ],
)
async def test_a_wrong_field_is_one_line(scorer: ScorerClient, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says) as raised:
        await scorer.score(**fields)
    assert "\n" not in raised.value.message


async def test_a_request_and_fields_are_too_much(scorer: ScorerClient) -> None:
    with pytest.raises(RequestError, match=r"not both \(got model\)"):
        await scorer.score(REQUEST, model="base")


async def test_parts_grow_again_behind_prompts_that_are_too_large() -> None:
    sizes: list[int] = []

    def scorer(request: httpx.Request) -> httpx.Response:
        prompts = json.loads(request.content)["prompts"]
        if sum(map(len, prompts)) > 4000:
            return refusal(TooLargeError("too much"))
        sizes.append(len(prompts))
        return answer(GOOD.model_copy(update={"logprobs": [[-0.5, -1.5]] * len(prompts)}))

    prompts = ["long" * 400] * 4 + ["short"] * 1000
    async with client_of(scorer, max_prompts=64) as client:
        assert len((await client.score(prompts=prompts, labels=[" x", " y"])).logprobs) == len(prompts)
    assert sizes[0] == 2
    assert max(sizes) == 64
    assert sum(sizes) == len(prompts)


def test_certificates_are_read_for_https_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    ScorerClient("http://scorer")
    with pytest.raises(RequestError, match="SSL_CERT_FILE"):
        ScorerClient("https://scorer")


def test_the_examples_in_the_docstrings_are_right() -> None:
    app = ready_transport()

    class Local(SyncScorerClient):
        def __init__(self, url: str):
            super().__init__(url, transport=app)

    found = doctest.DocTestFinder().find(SyncScorerClient, globs={"SyncScorerClient": Local, "url": "http://scorer"})
    results = [doctest.DocTestRunner().run(each) for each in found if each.examples]
    assert results
    assert not any(result.failed for result in results)
