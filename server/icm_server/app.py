"""The web application around one engine: it answers at once, and is ready when the engine is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icm_client.errors import BusyError, IcmError, RequestError, ScorerError, UnavailableError, error_body
from icm_client.wire import ScoreRequest
from icm_server.engines.base import Engine, EngineDiedError
from icm_server.routes import router
from icm_server.scoring import Scorer

log = logging.getLogger("icm_server")

EngineFactory = Callable[[], Awaitable[Engine]]


class ScorerState:
    """What the routes share: the scorer once there is one, else why not."""

    def __init__(self) -> None:
        self.scorer: Scorer | None = None
        self.reason = "the model is loading"
        self.failure: BaseException | None = None
        """Why the process has to end, once it has."""
        self.changed = asyncio.Event()
        """Set when the scorer has become ready or has failed."""

    def required(self) -> Scorer:
        """The scorer; raises UnavailableError with the reason while there is none."""
        if self.scorer is None:
            raise UnavailableError(self.reason, code="not_ready")
        return self.scorer

    def fail(self, error: BaseException, reason: str) -> None:
        self.scorer, self.reason, self.failure = None, reason, error
        self.changed.set()


def create_app(make_engine: EngineFactory, *, max_body_bytes: int = 256 * 1024 * 1024) -> FastAPI:
    """The application; its lifespan makes the engine in the background and closes it at the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state: ScorerState = app.state.scoring
        loading = asyncio.create_task(_load(state, make_engine))
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            if state.scorer is not None:
                await state.scorer.engine.close()

    app = FastAPI(title="icm-server", version="1", lifespan=lifespan)
    app.state.scoring = ScorerState()
    app.include_router(router)
    app.add_middleware(BodyLimit, max_body_bytes=max_body_bytes)
    app.add_exception_handler(IcmError, _icm_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(EngineDiedError, _engine_died)
    return app


async def _load(state: ScorerState, make_engine: EngineFactory) -> None:
    try:
        engine = await make_engine()
        scorer = Scorer(engine)
        state.reason = "the model is loaded; a first read is under way"
        await scorer.score(ScoreRequest(prompts=["The sky is"], labels=[" blue", " green"]))
    except Exception as error:  # whatever it was, the process cannot serve: the command line tells and exits
        state.fail(error, f"the engine did not start: {error}")
        return
    state.scorer = scorer
    state.changed.set()


async def _icm_error(request: Request, error: Any) -> JSONResponse:
    headers = {"Retry-After": str(max(1, round(error.retry_after_s)))} if isinstance(error, BusyError) else None
    if isinstance(error, ScorerError):
        log.error("%s: %s", error.code, error.message)
    return JSONResponse(error_body(error), status_code=error.status, headers=headers)


async def _validation_error(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    message = f"{where[:200]}: {first['msg'][:300]}"
    return JSONResponse(error_body(RequestError(message)), status_code=422)


async def _http_error(request: Request, error: Any) -> JSONResponse:
    body = error_body(IcmError(str(error.detail), code=f"http_{error.status_code}"))
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _engine_died(request: Request, error: Any) -> JSONResponse:
    request.app.state.scoring.fail(error, f"the engine died: {error}")
    return JSONResponse(error_body(UnavailableError("the engine died; the scorer is ending")), status_code=503)


class BodyLimit:
    """Refuses bodies that are too large, by their length if it is told, else while they arrive."""

    def __init__(self, app: ASGIApp, max_body_bytes: int):
        self._app, self._limit = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limit:
            await self._refuse(scope, receive, send)
            return
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise _too_large(self._limit)
            return message

        await self._app(scope, limited, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse(error_body(_too_large(self._limit)), status_code=413)(scope, receive, send)


def _too_large(limit: int) -> RequestError:
    error = RequestError(f"the body is larger than {limit} bytes: split the request", code="body_too_large")
    error.status = 413
    return error
