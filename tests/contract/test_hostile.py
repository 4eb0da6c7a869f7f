"""Whatever is sent, a scorer answers it: a success, or what is wrong in the one shape that errors have; never a 5xx.

But one: 504, where the request itself names a deadline that cannot be kept.

`pytest tests/contract/test_hostile.py --hypothesis-profile hostile` generates 10,000 requests of each kind instead of a
hundred (20 minutes).
"""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icm_client.contract.wire import MAX_LABELS, MAX_PREFIXES, MAX_PROMPTS, MAX_SEGMENTS, ErrorAnswer
from icm_server.config import Limits
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

pytestmark = pytest.mark.slow

LIMIT_S = 30.0
MAX_BODY_MB = 24
MAX_MEMORY_BYTES = 3 * 2**30
"""Of addresses, which is more than of memory."""
GOOD: dict[str, Any] = {"prompts": ["Word: salmon\nGroup:"], "labels": [" living", " object"]}
QUIET = settings(suppress_health_check=list(HealthCheck))


async def no_engine() -> FakeEngine:
    raise AssertionError


SCHEMA = schemathesis.openapi.from_dict(create_app(no_engine).openapi())
CHECKS = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "unsupported_method",
    )
]


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scorer program, which is there and well at the end, too."""
    ready = tmp_path_factory.mktemp("scorer") / "ready.json"
    command = [sys.executable, "-m", "icm_server.cli.app", "serve", "--engine", "fake", "--port", "0"]
    command += ["--max-body-mb", str(MAX_BODY_MB), "--engine-arg", "max_prompt_tokens=500", "--ready-file", str(ready)]
    log = ready.parent / "log"  # a file: a pipe that nobody reads fills up, and the server waits
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, preexec_fn=limit_memory) as process,
    ):
        try:
            deadline = time.monotonic() + LIMIT_S
            while not ready.exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            url = json.loads(ready.read_text())["url"]
            yield url
            assert httpx.post(f"{url}/v1/score", json=GOOD, timeout=LIMIT_S).status_code == 200
        finally:
            process.terminate()
        process.wait(LIMIT_S)
        said = log.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in said
        assert "Exception" not in said


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=LIMIT_S) as client:
        yield client


def check(response: httpx.Response) -> None:
    """A success, or an error of the caller's in the one shape, which does not grow with what was sent."""
    if response.status_code != 200:
        assert len(response.content) < 20_000
        error = ErrorAnswer.model_validate_json(response.content).error
        assert error.message
        assert 400 <= response.status_code < 500 or (response.status_code, error.code) == (504, "deadline"), error


@SCHEMA.parametrize()
@QUIET
def test_requests_made_from_the_schema(case: schemathesis.Case, url: str) -> None:
    response = case.call(base_url=url, timeout=LIMIT_S)
    if response.status_code != 200:
        error = ErrorAnswer.model_validate_json(response.content).error
        if (response.status_code, error.code) == (504, "deadline"):
            assert "deadline_s" in error.details
            return
    case.validate_response(response, checks=CHECKS)


NUMBERS = st.integers(-2, 6) | st.sampled_from([2**31, 2**63, 2**64, 10**400, -(10**400)])
TEXTS = (
    st.sampled_from(["", " a", " b", "Word: cod\nGroup:", "\n\n", "\n", " ", "\0", "\ud800", "\U0010ffff", "a" * 600])
    | st.text(max_size=8)
    | st.text(alphabet=" ab\n", max_size=30)
)
ROWS = st.lists(NUMBERS | st.none(), max_size=5)
MAYBE: dict[str, st.SearchStrategy[Any]] = {
    "segments": st.lists(TEXTS, max_size=6),
    "prefixes": st.lists(ROWS, max_size=6),
    "terminator": TEXTS | st.none(),
    "experiment": st.sampled_from(["a", "default", "x" * 128]) | TEXTS,
    "model": st.sampled_from(["base", "other"]) | TEXTS,
    "priority": NUMBERS,
    "deadline_s": st.sampled_from([1e-9, 0.01, 30, float("nan"), float("inf"), 1e308, -1]),
    "stray": st.none(),
}
REQUESTS = st.fixed_dictionaries(
    {
        "prompts": st.lists(TEXTS | ROWS, min_size=1, max_size=8),
        "labels": st.lists(TEXTS | st.lists(TEXTS, max_size=3), min_size=1, max_size=5),
    },
    optional=MAYBE,
)


@QUIET
@given(request=REQUESTS, accept=st.sampled_from(["*/*", "application/x-ndjson"]))
def test_requests_that_are_nearly_right(request: dict[str, Any], accept: str, http: httpx.Client) -> None:
    content = json.dumps(request).encode()
    headers = {"Content-Type": "application/json", "Accept": accept}
    check(http.post("/v1/score", content=content, headers=headers))


@QUIET
@given(
    content=st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()),
    content_type=st.sampled_from(
        ["application/json", "application/json; charset=utf-16", "text/plain", "a/b", "", "/"]
    ),
    encoding=st.sampled_from(["gzip", "zstd", "identity", "", "br", "gzip,gzip"]),
    packed=st.booleans(),
)
def test_any_bytes(content: bytes, content_type: str, encoding: str, packed: bool, http: httpx.Client) -> None:
    if packed:
        content = {"gzip": gzip.compress, "zstd": zstandard.compress}.get(encoding, bytes)(content)
    headers = {"Content-Type": content_type, "Content-Encoding": encoding}
    check(http.post("/v1/score", content=content, headers=headers))


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def packed(document: dict[str, Any]) -> bytes:
    return zstandard.compress(json.dumps(document, separators=(",", ":")).encode())


PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "a text of seven million words": ("score", {**GOOD, "prompts": [" w" * 3_500_000]}),
    "four texts of a million words": (
        "score",
        {**GOOD, "segments": [" w" * 1_000_000, " x" * 1_000_000, " y" * 1_000_000]},
    ),
    "tokens of a text of a million words": ("tokens", {"texts": [" w" * 1_000_000]}),
    "tokens of texts of three million words": ("tokens", {"texts": [" w" * 1_000_000] * 3}),
    "more values than can be read at once": ("score", {**GOOD, "prompts": [[0] * 9_000_000]}),
    "a prompt of 3,000,000 numbers": ("score", {**GOOD, "segments": ["a"], "prompts": [[None] + [0] * 3_000_000]}),
    "too many rows of 100,000 numbers": (
        "score",
        {**GOOD, "segments": ["a"], "prefixes": [[None] + [0] * 65_000] * 40},
    ),
}


@pytest.mark.parametrize(("path", "document"), PACKED.values(), ids=PACKED.keys())
def test_small_bodies_that_hold_much(path: str, document: dict[str, Any], http: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "zstd"}
    content = packed(document)
    assert len(content) < 20_000
    check(http.post(f"/v1/{path}", content=content, headers=headers))


def raw(field: str, value: str) -> bytes:
    """A request in which the field's JSON is this text."""
    rest = ", ".join(f"{json.dumps(name)}: {json.dumps(other)}" for name, other in GOOD.items() if name != field)
    return ("{" + rest + f", {json.dumps(field)}: {value}" + "}").encode("utf-8", "surrogatepass")


BODIES: dict[str, bytes] = {
    "nested arrays": b"[" * 1_000_000,
    "nested arrays, closed": b"[" * 200_000 + b"]" * 200_000,
    "nested objects": b'{"a":' * 500_000,
    "nested prompts": raw("prompts", "[" * 100_000 + "]" * 100_000),
    "nested in a field that is none": raw("other", '{"a":' * 50_000 + "1" + "}" * 50_000),
    "not UTF-8": raw("prompts", '["') + b"\xff\xfe",
    "half a character": b'{"prompts": ["\xe2\x82"], "labels": [" a", " b"]}',
    "overlong": b'{"prompts": ["\xc0\xaf"], "labels": [" a", " b"]}',
    "a surrogate": b'{"prompts": ["\xed\xa0\x80"], "labels": [" a", " b"]}',
    "a surrogate, escaped": raw("prompts", '["\\ud800 a"]'),
    "a surrogate in a label": raw("labels", '[" \\udfff", " b"]'),
    "a surrogate in a segment": raw("segments", '["\\ud800"]'),
    "a surrogate in the terminator": raw("terminator", '"\\ud800"'),
    "a surrogate in the experiment": raw("experiment", '"\\ud800"'),
    "a surrogate in the model": raw("model", '"\\ud800"'),
    "a surrogate in a field's name": b'{"\\ud800": 1, "prompts": ["a"], "labels": [" a", " b"]}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "UTF-32": json.dumps(GOOD).encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "zero bytes": b"\0" * 1000,
    "a number that is none": raw("prompts", "[[NaN, 0]]"),
    "an infinite number": raw("prompts", "[[Infinity, -Infinity]]"),
    "a deadline that is no number": raw("deadline_s", "NaN"),
    "an infinite deadline": raw("deadline_s", "1e999"),
    "a number of 5,000 digits": raw("prompts", "[[null, " + "9" * 5000 + "]]"),
    "a number of 4,000 digits": raw("prompts", "[[null, " + "9" * 4000 + "]]"),
    "a negative number of 4,000 digits": raw("prefixes", "[[-" + "9" * 4000 + "]]"),
    "a priority of 4,000 digits": raw("priority", "9" * 4000),
    "a number with a huge exponent": raw("prompts", "[[null, 1e400]]"),
    "a number of a million digits": b"1" * 1_000_000,
    "a name of a million characters": body(**{"x" * 1_000_000: 1}),
    "100,000 fields": json.dumps({**GOOD, **{f"f{k}": 1 for k in range(100_000)}}).encode(),
    "the same field 100,000 times": b"{" + b'"prompts": ["a"], ' * 100_000 + b'"labels": ["a"]}',
    "a label of a million characters": body(labels=[" a" * 500_000, " b"]),
    "an experiment of a million characters": body(experiment="x" * 1_000_000),
    "a model of a million characters": body(model="x" * 1_000_000),
    "a terminator of a million characters": body(terminator="x" * 1_000_000),
    "a prompt of a million words": body(prompts=["w " * 1_000_000]),
    "too many prompts": body(prompts=["a"] * (MAX_PROMPTS + 1)),
    "too many segments": body(segments=["a"] * (MAX_SEGMENTS + 1)),
    "too many prefixes": body(prefixes=[[None]] * (MAX_PREFIXES + 1)),
    "too many labels": body(labels=[f" {k}" for k in range(MAX_LABELS + 1)]),
    "too many texts of a label": body(labels=[[f" {k}" for k in range(65)], " b"]),
    "a million segments in a prompt": body(segments=["a"], prompts=[[None] + [0] * 1_000_000]),
    "a million nulls in a prompt": body(segments=["a"], prompts=[[None] * 1_000_000]),
}


MAY_SUCCEED = [BODIES["the same field 100,000 times"]]
"""The last of a field counts."""


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES.keys())
def test_bodies_made_to_hurt(content: bytes, http: httpx.Client) -> None:
    response = http.post("/v1/score", content=content, headers={"Content-Type": "application/json"})
    check(response)
    assert response.status_code != 200 or content in MAY_SUCCEED


MAX_PROMPTS_AT_ONCE = Limits().max_prompts
TREES: dict[str, dict[str, Any]] = {
    "a chain of prefixes as long as may be, each of a text that joins with the one before": {
        "segments": ["a" * 20],
        "prefixes": [[None, 0], *([k, 0] for k in range(MAX_PREFIXES - 1))],
        "prompts": [[MAX_PREFIXES - 1]],
    },
    "such a chain, with a prompt at every place": {
        "segments": ["a" * 20],
        "prefixes": [[None, 0], *([k, 0] for k in range(MAX_PROMPTS_AT_ONCE - 1))],
        "prompts": [[k] for k in range(MAX_PROMPTS_AT_ONCE)],
    },
    "one long text in every prompt": {
        "segments": ["x" * 4_000_000, "y"],
        "prefixes": [[None, 0]],
        "prompts": [[0, 1]] * MAX_PROMPTS_AT_ONCE,
    },
    "one long text many times in a prompt": {
        "segments": ["x" * 4_000_000],
        "prompts": [[None, *[0] * 100_000]],
    },
    "as many prompts as fit, all full": {
        "segments": [" w" * 480, " y"],
        "prefixes": [[None, 0]],
        "prompts": [[0, 1]] * MAX_PROMPTS_AT_ONCE,
    },
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())
def test_trees_that_unfold_to_more_than_can_be_held(tree: dict[str, Any], http: httpx.Client) -> None:
    """A small body may name a text ten thousand times: the bomb that no limit of bytes sees."""
    check(http.post("/v1/score", content=body(**tree), headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bombs(encoding: str, http: httpx.Client) -> None:
    flood = b'{"prompts": ["' + b"x" * (400 * 2**20)
    content = gzip.compress(flood, 9) if encoding == "gzip" else zstandard.ZstdCompressor(level=3).compress(flood)
    assert len(content) < 2**20
    response = http.post(
        "/v1/score", content=content, headers={"Content-Type": "application/json", "Content-Encoding": encoding}
    )
    check(response)
    assert response.status_code == 413
    assert str(MAX_BODY_MB * 2**20) in response.json()["error"]["message"]


def test_a_body_of_more_than_the_limit(http: httpx.Client) -> None:
    for content in (b"x" * (MAX_BODY_MB * 2**20 + 1), iter([b"x" * 2**20] * (MAX_BODY_MB + 3))):
        response = http.post("/v1/score", content=content, headers={"Content-Type": "application/json"})
        check(response)
        assert response.status_code == 413
