"""The log's lines: one an event, for programs or people, and never what was sent."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator

import pytest
from tests.hand_clock import HandClock

from icm_server.config import LogFormat
from icm_server.logs import LOGGERS, RequestNote, current_request, event, set_up_logging
from icm_server.refusal_lines import MOST_LINES

log = logging.getLogger("icm_server")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What events are written to; loggers are as before after the test."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    yield io.StringIO()
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def fail(text: str) -> None:
    raise KeyError(text)


def test_json_is_what_is_written_where_there_is_no_terminal(stream: io.StringIO) -> None:
    set_up_logging("auto", stream, verbose=False)
    token = current_request.set(RequestNote("r-1"))
    event(log, "request finished", experiment="names-seed1", seconds=0.25, reads=3)
    current_request.reset(token)
    event(log, "stopping")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "event": "request finished",
        "request_id": "r-1",
        "experiment": "names-seed1",
        "seconds": 0.25,
        "reads": 3,
    }
    assert "request_id" not in second


def test_text_is_for_people(stream: io.StringIO) -> None:
    set_up_logging("text", stream, verbose=False)
    event(log, "scorer failed", logging.ERROR, reason="the engine died: it was killed")
    event(log, "request finished", experiment="names", code="two words")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("] scorer failed: the engine died: it was killed")
    assert second.endswith('] request finished experiment=names code="two words"')


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_reported_by_its_place_and_never_by_its_message(stream: io.StringIO, form: str) -> None:
    set_up_logging(form, stream, verbose=False)  # type: ignore[arg-type]
    try:
        fail("a prompt's secret text")
    except KeyError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    written = stream.getvalue()
    assert "secret" not in written
    assert "KeyError" in written
    assert "test_logs.py" in written
    assert " fail" in written
    assert (len(written.splitlines()) == 1) == (form == "json")


def test_an_event_is_one_line_whatever_stands_in_it(stream: io.StringIO) -> None:
    for form in ("json", "text"):
        set_up_logging(form, stream, verbose=False)  # type: ignore[arg-type]
        event(log, "request refused", path="/a\nb\u2028c")
    assert len(stream.getvalue().splitlines()) == 2


@pytest.mark.parametrize("form", ["text", "json"])
def test_nobodys_text_makes_a_line_or_commands_the_terminal(stream: io.StringIO, form: LogFormat) -> None:
    set_up_logging(form, stream, verbose=False)
    hostile = "first\r\nsecond \x1b]0;pwned\x07\x9b31m\u202e\u2028"
    event(log, hostile, reason=hostile, model=hostile, path=hostile.replace(" ", ""))
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["reason"] == hostile


def test_a_flood_of_refusals_is_counted_instead_of_written(stream: io.StringIO) -> None:
    clock = HandClock()
    set_up_logging("json", stream, verbose=False, clock=clock)
    token = current_request.set(RequestNote("r-1"))
    for _ in range(1000):
        event(log, "request refused", method="GET", path="unknown", status=401)
    event(log, "request refused", tenant="alice", code="busy")
    event(log, "request finished", tenant="bob")
    clock.now += 1.0
    event(log, "request refused", method="GET", path="unknown", status=401)
    current_request.reset(token)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    strangers = [line for line in lines if line["event"] == "request refused" and line.get("status") == 401]
    assert len(strangers) == MOST_LINES + 1
    assert [line.get("tenant") for line in lines[MOST_LINES : MOST_LINES + 2]] == ["alice", "bob"]
    entry = lines[-2]
    del entry["time"]
    assert entry == {"level": "info", "event": "more requests refused", "requests": 1000 - MOST_LINES, "status": 401}


def test_what_was_counted_is_reported_at_the_end(stream: io.StringIO) -> None:
    set_up_logging("json", stream, verbose=False, clock=HandClock())
    for _ in range(MOST_LINES + 7):
        event(log, "request refused", tenant="alice", code="busy")
    (handler,) = log.handlers
    handler.close()
    entry = json.loads(stream.getvalue().splitlines()[-1])
    assert (entry["requests"], entry["tenant"], entry["code"]) == (7, "alice", "busy")


@pytest.mark.parametrize("form", ["json", "text"])
async def test_what_nobody_waits_for_is_logged_without_what_it_quotes(stream: io.StringIO, form: LogFormat) -> None:
    set_up_logging(form, stream, verbose=False)
    left = asyncio.get_running_loop().create_future()
    left.set_exception(KeyError("secret"))
    del left
    gc.collect()
    assert "exception was never retrieved" in stream.getvalue()
    assert "KeyError" in stream.getvalue()
    assert "secret" not in stream.getvalue()
