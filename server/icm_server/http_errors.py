"""Every error of the scorer in its one shape, `{"error": {"code", "message", "details"}}`."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from icm_client.errors import BusyError, IcmError, RequestError, ScorerError, UnavailableError, error_body
from icm_client.wire import ScoreRequest
from icm_server.engines.base import EngineDiedError
from icm_server.wanted import CallerGoneError

log = logging.getLogger("icm_server")

CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def add_error_handlers(app: FastAPI) -> None:
    """Maps every exception that a route may raise."""
    app.add_exception_handler(IcmError, _icm_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(EngineDiedError, _engine_died)
    app.add_exception_handler(CallerGoneError, _caller_gone)
    app.add_exception_handler(Exception, _bug)


def as_told(app: FastAPI, error: Exception) -> IcmError:
    """What a caller is told of an exception; what it says of the scorer itself is noted."""
    if isinstance(error, IcmError):
        if isinstance(error, ScorerError):
            log.error("%s: %s", error.code, error.message)
        return error
    if isinstance(error, EngineDiedError):
        app.state.scoring.fail(f"the engine died: {error}")
        return UnavailableError("the engine died, so this scorer ends", code="engine_died")
    return ScorerError(f"the scorer failed in a way that it does not know ({type(error).__name__}); its log tells more")


async def _icm_error(request: Request, error: Any) -> JSONResponse:
    headers = {"Retry-After": str(math.ceil(error.retry_after_s))} if isinstance(error, BusyError) else None
    return JSONResponse(error_body(as_told(request.app, error)), status_code=error.status, headers=headers)


async def _validation_error(request: Request, error: Any) -> JSONResponse:
    return JSONResponse(error_body(RequestError(_told(error.errors()))), status_code=422)


async def _http_error(request: Request, error: Any) -> JSONResponse:
    code = CODES.get(error.status_code, f"http_{error.status_code}")
    message = str(error.detail)
    if error.status_code in (404, 405):
        message = f"{message}: {request.method} {request.url.path[:200]}. There is POST /v1/score, and /docs tells more"
    body = error_body(IcmError(message, code=code))
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _engine_died(request: Request, error: Any) -> JSONResponse:
    gone = as_told(request.app, error)
    return JSONResponse(error_body(gone), status_code=gone.status)


async def _caller_gone(request: Request, error: Any) -> JSONResponse:
    """Nobody reads it."""
    return JSONResponse(error_body(UnavailableError("the caller has gone", code="given_up")), status_code=503)


async def _bug(request: Request, error: Any) -> JSONResponse:
    """Not foreseen: the traceback goes to the log (the server writes it), the caller learns the kind."""
    return JSONResponse(error_body(as_told(request.app, error)), status_code=500)


def _told(errors: Sequence[Any]) -> str:
    """Pydantic's errors in one line: the first place that is wrong and what is wrong there, never the input itself."""
    if errors[0]["type"] == "json_invalid":
        reason, place = errors[0].get("ctx", {}).get("error", "invalid"), errors[0]["loc"][-1]
        return f"the body is not JSON: {reason} (character {place})"
    if errors[0]["type"] == "missing" and len(errors[0]["loc"]) == 1:
        return "the body is empty: send JSON, with the header Content-Type: application/json"
    where = _where(errors[0]["loc"])
    what = dict.fromkeys(str(error["msg"])[:200] for error in errors if _where(error["loc"]) == where)
    return f"{where}: {', or '.join(what)}"


def _where(loc: Sequence[str | int]) -> str:
    """`prompts.3` of ("body", "prompts", 3, "list[nullable[int]]", 0): without the names of union members."""
    parts = [str(part)[:100] for part in loc[1:2]]
    parts += [str(part) for part in loc[2:] if isinstance(part, int) or part in ScoreRequest.model_fields]
    return ".".join(parts) or "the body"
