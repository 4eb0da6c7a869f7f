"""Parses request bodies, as strictly as JSON and Unicode require."""

from __future__ import annotations

from typing import Any, TypeVar

import pydantic
from fastapi import Request

from icm_client.contract.errors import RequestError, TooLargeError
from icm_client.contract.wire import ScoreRequest
from icm_client.text.validation import first_error
from icm_server.middleware.access import allowed
from icm_server.middleware.cancel_on_disconnect import cancel_on_disconnect
from icm_server.sharing.steps import Steps, finished

MAX_VALUES = 2**20
"""The most commas in a body. Parsing blocks the event loop, a tenth of a second for this many values, and each value
can take sixteen times the memory of its two bytes."""
MAX_ESCAPES = 2**22
"""The most characters written as \\u and four digits: they take ten times as long as others."""
SMALL_BYTES = 2**16
"""A smaller body is parsed in less than a millisecond."""
STEP_BYTES = 2**20
"""Bytes scanned between two yields: a few milliseconds."""

_Model = TypeVar("_Model", bound=pydantic.BaseModel)


def documented(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a body that is parsed here."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


async def score_body(request: Request) -> ScoreRequest:
    """The score request, attributed to its key's tenant. Raises RequestError, AccessError, or what
    `cancel_on_disconnect` does."""
    return allowed(request.state.tenant, await parsed(request, ScoreRequest))


async def parsed(request: Request, model: type[_Model]) -> _Model:
    """The parsed body; a large one is parsed in a turn of its tenant.

    Raises RequestError naming what is wrong and where, without quoting the body.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RequestError(
            "the body has to be JSON: send the header Content-Type: application/json",
            code="unsupported_media_type",
            status=415,
        )
    body = b"".join([piece async for piece in request.stream()])  # request.body() would be kept until the answer's end
    if not body:
        raise RequestError("the body is empty: send a request as JSON")
    if len(body) <= SMALL_BYTES:
        return finished(reading(model, body))
    planning = request.app.state.scoring.required().planning
    place = planning.lock.place(request.state.tenant, 0, len(body))
    return await cancel_on_disconnect(request, planning.done(reading(model, body), place))


def reading(model: type[_Model], body: bytes) -> Steps[_Model]:
    """Scans a body, and parses it unless it has too many values. Raises RequestError."""
    if (yield from counted(body, b",")) > MAX_VALUES:
        raise TooLargeError(f"the body has more than {MAX_VALUES} values: send fewer prompts per request")
    if (yield from counted(body, b"\\u")) > MAX_ESCAPES:
        raise TooLargeError(f"the body has more than {MAX_ESCAPES} characters as \\u escapes: write them as UTF-8")
    try:
        # Not json.loads, which accepts lone surrogates and raises RecursionError for deep nesting. Strict: 1 is not
        # true and text is not a number, as in the schema.
        return model.model_validate_json(body, strict=True)
    except pydantic.ValidationError as error:
        raise RequestError(_mistake(error)) from None


def counted(body: bytes, what: bytes) -> Steps[int]:
    """The number of non-overlapping occurrences of `what` in the body."""
    number = 0
    for start in range(0, len(body), STEP_BYTES):
        number += body.count(what, start, start + STEP_BYTES + len(what) - 1)
        yield
    return number


def _mistake(error: pydantic.ValidationError) -> str:
    """The first error in one line, without the body's content."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']}"
    return first_error(error, whole="the body")
