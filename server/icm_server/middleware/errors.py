"""All errors of the scorer in one format, `{"error": {"code", "message", "details"}}`."""

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
    """Adds a handler for every exception that a route may raise."""
    app.add_exception_handler(IcmError, _icm_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(EngineDiedError, _engine_died)
    app.add_exception_handler(CallerGoneError, _caller_gone)
    app.add_exception_handler(Exception, _bug)


def public_error(app: FastAPI, error: Exception) -> IcmError:
    """The error that the client gets for an exception; a failure of the scorer is also recorded in its state."""
    if isinstance(error, IcmError):
        if isinstance(error, ScorerError):
            log.error("%s: %s", error.code, error.message)
        return error
    if isinstance(error, EngineDiedError):
        app.state.scoring.fail(f"the engine died: {error}")
        return UnavailableError("the engine died; the scorer is shutting down", code="engine_died")
    return ScorerError(f"internal error of the scorer ({type(error).__name__}); see its log")


def error_response(error: IcmError, headers: Iterable[tuple[str, str]] = ()) -> JSONResponse:
    """The error's answer, with Retry-After if the error has a time. A header may occur several times."""
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
    """The client has disconnected, so nothing is sent."""
    return JSONResponse(error_body(UnavailableError("the client disconnected", code="cancelled")), status_code=503)


async def _bug(request: Request, error: Any) -> JSONResponse:
    """An unexpected exception: the server logs the traceback, and the client gets the exception's type.

    This handler runs outside all middleware, so it adds the headers that `RequestIds` adds to other answers.
    """
    return error_response(public_error(request.app, error), [(HEADER, request.state.request_id)])
