"""The scorer's log: one event per line on standard error, for programs (JSON) or for people.

An event has the id of its request. Keys and texts are never logged: for an unexpected exception, the log has its type
and where it was raised, but not its message, which may quote the request.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from icm_client.text.visible import visible
from icm_server.config import LogFormat
from icm_server.refusal_lines import Kind, RefusalLines

LOGGERS = ("icm_server", "uvicorn", "asyncio")
REFUSED = "request refused"
"""The event whose lines are limited per second (`refusal_lines.py`)."""
_KIND = ("tenant", "status", "code")
"""The fields that determine its kind."""


@dataclass(slots=True)
class RequestNote:
    """The context of the HTTP request that is being answered."""

    id: str
    is_logged: bool = False
    """An event has logged how the request ended."""


current_request: ContextVar[RequestNote | None] = ContextVar("current_request", default=None)


def event(log: logging.Logger, name: str, level: int = logging.INFO, **fields: object) -> None:
    """Logs an event; `fields` are numbers and names."""
    if log.isEnabledFor(level):
        log.log(level, name, extra={"fields": fields})


def last_event(log: logging.Logger, name: str, level: int = logging.INFO, **fields: object) -> None:
    """Logs how the current request ended."""
    note = current_request.get()
    if note is not None:
        note.is_logged = True
    event(log, name, level, **fields)


def set_up_logging(
    form: LogFormat, stream: TextIO, *, verbose: bool, clock: Callable[[], float] = time.monotonic
) -> None:
    """Sends events to the stream; `auto` means text on a terminal and JSON elsewhere. `clock` returns seconds."""
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler = LogHandler(stream, RefusalLines(clock))
    handler.setFormatter(TextLines() if as_text else JsonLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if verbose or name == "icm_server" else logging.ERROR)


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes all events except excess rejections, which it counts in one line at the next event after their second."""

    def __init__(self, stream: TextIO, refusals: RefusalLines):
        super().__init__(stream)
        self._refusals = refusals

    def emit(self, record: logging.LogRecord) -> None:
        self._log_left_out(self._refusals.left_out())
        if record.msg != REFUSED or self._refusals.shows(_kind(record)):
            super().emit(record)

    def close(self) -> None:
        self._log_left_out(self._refusals.left_out(at_end=True))
        super().close()

    def _log_left_out(self, left_out: dict[Kind, int]) -> None:
        for kind, number in left_out.items():
            shown = {name: value for name, value in zip(_KIND, kind, strict=True) if value is not None}
            record = logging.LogRecord(LOGGERS[0], logging.INFO, "", 0, "more requests refused", None, None)
            record.fields = {"requests": number, **shown}
            record.is_about_many = True
            super().emit(record)


def _kind(record: logging.LogRecord) -> Kind:
    fields = getattr(record, "fields", {})
    return tuple(fields.get(name) for name in _KIND)


class JsonLines(logging.Formatter):
    """`{"time", "level", "event", "request_id", ...}`; the time is UTC."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": at, "level": record.levelname.lower(), "event": _event(record)}
        return json.dumps(line | _fields(record), default=str)


class TextLines(logging.Formatter):
    """`[time] event: reason key=value ...`; the time is local."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        trace = "".join(f"\n    {visible(place)}" for place in fields.pop("traceback", ()))
        reason = f": {fields.pop('reason')}" if "reason" in fields else ""
        words = [f"{key}={_word(value)}" for key, value in fields.items()]
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        return " ".join([f"[{at}]", visible(_event(record) + reason), *words]) + trace


def _event(record: logging.LogRecord) -> str:
    """The event's name: only the first line of asyncio's messages, since the others contain objects and quote
    exceptions."""
    event = record.getMessage().strip()
    return event.partition("\n")[0] if record.name == "asyncio" else event


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    request = current_request.get() if not hasattr(record, "is_about_many") else None
    fields: dict[str, Any] = {"request_id": request.id} if request is not None else {}
    fields |= getattr(record, "fields", {})
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = record.exc_info[0].__name__
        frames = traceback.extract_tb(record.exc_info[2])
        fields["traceback"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return fields


def _word(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text and text else json.dumps(text)
