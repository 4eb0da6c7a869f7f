"""The web application around one engine: it answers at once, and is ready when the engine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from icm_client.errors import IcmError, UnavailableError
from icm_client.wire import ErrorAnswer, ScoreRequest
from icm_server.access import Access, Keyring
from icm_server.body_limit import BodyLimit
from icm_server.config import ScoringConfig
from icm_server.engines.base import Engine
from icm_server.http_errors import add_error_handlers
from icm_server.routes import router
from icm_server.scoring import Scorer

EngineFactory = Callable[[], Awaitable[Engine]]

MIN_GZIP_BYTES = 4096
"""Smaller answers are not compressed."""
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in (("4XX", "What is wrong with the request"), ("5XX", "Why there is no answer"))
}


def first_request() -> ScoreRequest:
    """One that no memory of finished reads knows."""
    return ScoreRequest(prompts=[f"At {time.time_ns()} the sky is"], labels=[" blue", " green"])


class ScorerState:
    """What the routes share: the scorer once there is one, else why not."""

    def __init__(self) -> None:
        self.scorer: Scorer | None = None
        self.reason = "the model is loading"
        self.failure: str | None = None
        """Why the process has to end, once it has."""
        self.settled = asyncio.Event()
        """Set when the scorer is ready, or has failed."""
        self.failed = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set when the process is to end; requests under way are given up."""

    def required(self) -> Scorer:
        """The scorer; raises UnavailableError with the reason while there is none."""
        if self.stopping.is_set() and self.failure is None:
            raise UnavailableError("the scorer is being stopped", code="not_ready")
        if self.scorer is None or self.failure is not None:
            raise UnavailableError(self.reason, code="not_ready")
        return self.scorer

    def fail(self, reason: str) -> None:
        self.reason, self.failure = reason, reason
        self.settled.set()
        self.failed.set()


def create_app(
    make_engine: EngineFactory,
    *,
    scoring: ScoringConfig | None = None,
    max_body_bytes: int = 256 * 2**20,
    keyring: Keyring | None = None,
) -> FastAPI:
    """The application; its lifespan makes the engine in the background and closes it at the end.

    With a `keyring`, every path but those of `access.OPEN_PATHS` asks for a key.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state: ScorerState = app.state.scoring
        loading = asyncio.create_task(_load(state, make_engine, scoring))
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            if state.scorer is not None:
                await state.scorer.close()

    app = FastAPI(title="icm-server", version="1", lifespan=lifespan, responses=ERRORS)
    app.state.scoring = ScorerState()
    app.include_router(router)
    app.add_middleware(BodyLimit, max_body_bytes=max_body_bytes)
    app.add_middleware(GZipMiddleware, minimum_size=MIN_GZIP_BYTES, compresslevel=1)  # flushes every streamed piece
    app.add_middleware(Access, keyring=keyring)  # the last one added is the first one met
    add_error_handlers(app)
    return app


async def _load(state: ScorerState, make_engine: EngineFactory, scoring: ScoringConfig | None) -> None:
    try:
        engine = await make_engine()
    except Exception as error:  # whatever it was, the process cannot serve: the command line tells and exits
        state.fail(_told(error))
        return
    scorer = Scorer(engine, scoring)
    state.reason = "the model is loaded; a first read is under way"
    try:
        await scorer.score(first_request())
    except BaseException as error:
        await scorer.close()
        if not isinstance(error, Exception):
            raise
        state.fail(f"the model is loaded, but its first read failed: {_told(error)}")
        return
    state.scorer = scorer
    state.settled.set()


def _told(error: Exception) -> str:
    return error.message if isinstance(error, IcmError) else f"{type(error).__name__}: {error}"
