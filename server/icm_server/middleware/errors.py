"""Every error of the scorer in its one shape, `{"error": {"code", "message", "details"}}`."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from icm_client.contract.errors import BusyError, IcmError, ScorerError, UnavailableError, error_body
from icm_server.engines.base import EngineDiedError
from icm_server.middleware.cancel_on_disconnect import CallerGoneError
from icm_server.middleware.request_ids import HEADER

log = logging.getLogger("icm_server")

CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def add_error_handlers(app: FastAPI) -> None:
    """Maps every exception that a route may raise."""
    app.add_exception_handler(IcmError, _icm_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(EngineDiedError, _engine_died)
    app.add_exception_handler(CallerGoneError, _caller_gone)
    app.add_exception_handler(Exception, _bug)


def public_error(app: FastAPI, error: Exception) -> IcmError:
    """What a caller is told of an exception; what it says of the scorer itself is noted."""
    if isinstance(error, IcmError):
        if isinstance(error, ScorerError):
            log.error("%s: %s", error.code, error.message)
        return error
    if isinstance(error, EngineDiedError):
        app.state.scoring.fail(f"the engine died: {error}")
        return UnavailableError("the engine died; the scorer is shutting down", code="engine_died")
    return ScorerError(f"internal error of the scorer ({type(error).__name__}); see its log")


def error_response(error: IcmError, headers: Iterable[tuple[str, str]] = ()) -> JSONResponse:
    """The answer that tells of the error, with Retry-After where it names a time. A header may come several times."""
    response = JSONResponse(error_body(error), status_code=error.status)
    for name, value in headers:
        response.headers.append(name, value)
    if isinstance(error, BusyError | UnavailableError) and error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return response


async def _icm_error(request: Request, error: Any) -> JSONResponse:
    return error_response(public_error(request.app, error))


async def _http_error(request: Request, error: Any) -> JSONResponse:
    code = CODES.get(error.status_code, f"http_{error.status_code}")
    message = str(error.detail)
    if error.status_code in (404, 405):
        message = f"{message}: {request.method} {request.url.path[:200]}. Use POST /v1/score; /docs describes all paths"
    body = error_body(IcmError(message, code=code))
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _engine_died(request: Request, error: Any) -> JSONResponse:
    gone = public_error(request.app, error)
    return JSONResponse(error_body(gone), status_code=gone.status)


async def _caller_gone(request: Request, error: Any) -> JSONResponse:
    """Nobody reads it."""
    return JSONResponse(error_body(UnavailableError("the client disconnected", code="cancelled")), status_code=503)


async def _bug(request: Request, error: Any) -> JSONResponse:
    """Not foreseen: the traceback goes to the log (the server writes it), the caller learns the kind.

    It is answered outside all middleware, so what `RequestIds` adds to other answers is added here.
    """
    return error_response(public_error(request.app, error), [(HEADER, request.state.request_id)])
