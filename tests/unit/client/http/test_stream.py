"""A streamed answer: every way in which it can come, and in which it can be wrong."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_client import BusyError, DeadlineError, IcmError, RequestError, ScoreRequest, ScorerError, UnavailableError
from icm_client.contract.wire import ModelInfo, ScoreResponse, StreamEnd, StreamRows, StreamStart, Usage
from icm_client.http.stream import Outstanding, Rows, lines_of, read_lines

INFO = ModelInfo(name="m", digest="d", dtype="float32", engine="e", max_prompt_tokens=100, adds_bos=False)
START = StreamStart(model=INFO, num_prompts=3)
ROWS = StreamRows(prompts=[2, 0], logprobs=[[-0.5, -1.0], [-1.5, -2.0]])
LAST = StreamRows(prompts=[1], logprobs=[[-0.25, -3.0]])
END = StreamEnd(usage=Usage(prompt_tokens=7))
WHOLE = [START, ROWS, LAST, END]
REQUEST = ScoreRequest(prompts=["a", "b", "c"], labels=[" x", " y"])


def text(*lines: Any) -> bytes:
    """NDJSON of lines, which may also be given as JSON values or bytes."""
    parts = [
        line if isinstance(line, bytes) else json.dumps(line if isinstance(line, dict) else line.model_dump()).encode()
        for line in lines
    ]
    return b"".join(part + b"\n" for part in parts)


async def read(content: bytes, cuts: Sequence[int] = (), found: list[Any] | None = None) -> list[Any]:
    """The lines that come of content that arrives in pieces; `found` has them also if it ends in an error."""
    found = [] if found is None else found

    async def chunks() -> AsyncIterator[bytes]:
        edges = [0, *sorted(cuts), len(content)]
        for start, stop in itertools.pairwise(edges):
            yield content[start:stop]

    async for line in read_lines(chunks()):
        found.append(line)
    return found


@settings(max_examples=100, deadline=None)
@given(st.data())
async def test_lines_are_the_same_however_they_arrive(data: st.DataObject) -> None:
    content = text(START, b"", ROWS, b"  \r", LAST, END)
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=12))
    assert await read(content, cuts) == WHOLE


async def test_separators_of_other_kinds_end_no_line() -> None:
    said = {"code": "c", "message": "a\u2028b\x85c\x0bd", "details": {"k": "a\u2028b\x85c"}, "status": 422}
    content = text(START) + json.dumps({"kind": "error", "error": said}, ensure_ascii=False).encode() + b"\n"
    with pytest.raises(RequestError) as raised:
        await read(content)
    assert (raised.value.message, raised.value.details) == ("a b c d", said["details"])


@settings(max_examples=60, deadline=None)
@given(st.data())
async def test_an_answer_that_is_cut_anywhere_is_reported_and_what_came_before_is_kept(data: st.DataObject) -> None:
    content = text(*WHOLE)
    length = data.draw(st.integers(0, len(content) - 2))  # without the last newline all is there already
    found: list[Any] = []
    with pytest.raises(UnavailableError, match="cut off"):
        await read(content[:length], found=found)
    assert found == WHOLE[: content[:length].count(b"\n")]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "cancelled", UnavailableError),
        (504, "deadline", DeadlineError),
        (429, "busy", BusyError),
        (422, "x", RequestError),
        (500, "scorer_failed", ScorerError),
    ],
)
async def test_an_error_in_the_stream_is_typed(status: int, code: str, kind: type[IcmError]) -> None:
    fault = {"kind": "error", "error": {"code": code, "message": "m", "details": {"k": 1}, "status": status}}
    with pytest.raises(kind) as raised:
        await read(text(START, ROWS, fault))
    assert (raised.value.code, raised.value.message, raised.value.details) == (code, "m", {"k": 1})


@pytest.mark.parametrize(
    "lines",
    [
        [ROWS],
        [END],
        [START, START],
        [START, ROWS, LAST, END, END],
        [START, ROWS, LAST, END, LAST],
        [START, {"kind": "other"}],
        [START, {"kind": "rows", "prompts": [0], "logprobs": [["a"]]}],
        [START, {"kind": "rows", "prompts": [0.5], "logprobs": [[-1.0, -1.0]]}],
        [START, b"{"],
        [START, b"[" * 100_000],
        [START, b"\xff\xfe"],
        [START, b"null"],
        [b"<html>"],
    ],
)
async def test_what_is_not_of_this_protocol_is_reported(lines: list[Any]) -> None:
    with pytest.raises(ScorerError) as raised:
        await read(text(*lines))
    assert "\n" not in raised.value.message
    assert len(raised.value.message) < 300


async def test_a_line_without_an_end_is_not_collected_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_client.http.stream.MAX_LINE_BYTES", 10_000)
    num_sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal num_sent
        while True:
            num_sent += 1000
            yield b"x" * 1000

    with pytest.raises(ScorerError, match="10000 bytes"):
        await anext(read_lines(endless()))
    assert num_sent <= 12_000


def test_rows_are_numbered_as_in_the_request() -> None:
    outstanding = Outstanding(REQUEST, range(3))
    assert outstanding.take(ROWS, [0, 1, 2]) == Rows([2, 0], ROWS.logprobs)
    assert outstanding.numbers() == [1]
    assert outstanding.take(StreamRows(prompts=[0], logprobs=LAST.logprobs), [1]) == Rows([1], LAST.logprobs)
    assert outstanding.numbers() == []


@pytest.mark.parametrize(
    ("prompts", "logprobs", "says"),
    [
        ([3], [[-1.0, -1.0]], "prompt 3 of a request with 3"),
        ([-1], [[-1.0, -1.0]], "prompt -1"),
        ([0, 0], [[-1.0, -1.0]] * 2, "prompt 0 twice"),
        ([1], [[-1.0, -1.0]], "prompt 1 twice"),
        ([0], [], "0 rows for 1 prompt"),
        ([], [[-1.0, -1.0]], "1 row for 0 prompts"),
        ([0], [[-1.0]], "not 2 log-probabilities"),
        ([0], [[-1.0, 0.5]], "not 2 log-probabilities"),
        ([0], [[-1.0, float("nan")]], "not 2 log-probabilities"),
        ([0], [[-1.0, float("-inf")]], "not 2 log-probabilities"),
    ],
)
def test_rows_that_do_not_fit_are_refused(prompts: list[int], logprobs: list[list[float]], says: str) -> None:
    outstanding = Outstanding(REQUEST, range(3))
    outstanding.take(StreamRows(prompts=[1], logprobs=[[-1.0, -2.0]]), [0, 1, 2])
    with pytest.raises(ScorerError, match=says):
        outstanding.take(StreamRows(prompts=prompts, logprobs=logprobs), [0, 1, 2])


def test_a_whole_answer_is_a_stream_too() -> None:
    answer = ScoreResponse(logprobs=[[-1.0, -2.0], [-3.0, -4.0]], usage=END.usage, model=INFO)
    start, rows, end = lines_of(answer)
    assert start == StreamStart(model=INFO, num_prompts=2)
    assert rows == StreamRows(prompts=[0, 1], logprobs=answer.logprobs)
    assert end == END
