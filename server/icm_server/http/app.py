"""The web application around one engine. It answers at once, and is ready when the engine is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Scope

from icm_client.contract.wire import ErrorAnswer
from icm_server.auth.keyring import Keyring
from icm_server.config import AdapterConfig, ConnectionLimits, ScoringConfig
from icm_server.http import adapters as adapter_routes
from icm_server.http import health, model_list, operations, routes
from icm_server.http.api_page import add_api_page
from icm_server.lifecycle.scorer_state import EngineFactory, ScorerState, live
from icm_server.middleware.access import Access
from icm_server.middleware.answer_gzip import AnswerGzip
from icm_server.middleware.body_limit import BodyLimit
from icm_server.middleware.errors import add_error_handlers
from icm_server.middleware.head_requests import HeadRequests
from icm_server.middleware.known_hosts import KnownHosts
from icm_server.middleware.request_ids import RequestIds
from icm_server.monitoring.metrics import Metrics

MIN_GZIP_BYTES = 4096
"""Smaller answers are not compressed."""
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in (("4XX", "What is wrong with the request"), ("5XX", "Why there is no answer"))
}


def create_app(
    make_engine: EngineFactory,
    *,
    scoring: ScoringConfig | None = None,
    max_body_bytes: int = 64 * 2**20,
    keyring: Keyring | None = None,
    connections: ConnectionLimits | None = None,
    hosts: Iterable[str] = (),
    adapters: AdapterConfig | None = None,
) -> FastAPI:
    """The application; its lifespan loads the engine and its adapters in the background and closes them at the end.

    With a `keyring`, every path except `open_paths.OPEN_PATHS` needs a key. Without one, only requests to `hosts` and
    to host names that no web page can have are answered.
    """
    state = ScorerState()
    scoring = (scoring or ScoringConfig()).model_copy(update={"has_keys": keyring is not None})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        living = asyncio.create_task(live(state, make_engine, scoring, adapters))
        try:
            yield
        finally:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            if state.scorer is not None:
                await state.scorer.close()

    app = FastAPI(title="icm-server", version="1", lifespan=lifespan, responses=ERRORS, docs_url=None, redoc_url=None)
    responses: Counter[int] = Counter()
    app.state.scoring = state
    app.state.answer_stall_s = (connections or ConnectionLimits()).answer_stall_s
    app.state.metrics = Metrics(lambda: state.scorer, state.is_ready, responses)
    routers = [module.router for module in (routes, adapter_routes, model_list, operations, health)]
    for router in routers:
        app.include_router(router)
    add_api_page(app)
    # From FastAPI 0.137 on, app.routes no longer contains the routes of included routers.
    every = [*app.routes, *(route for router in routers for route in router.routes)]
    paths = {route.path for route in every if isinstance(route, Route)}
    with_body = {route.path for route in every if isinstance(route, Route) and "POST" in (route.methods or ())}

    def check(scope: Scope) -> None:
        """Raises BusyError for a score request that has no room, whatever its body."""
        if scope["path"] == routes.SCORE_PATH and state.is_ready():
            state.required().check_one_more(scope["state"]["tenant"])

    app.add_middleware(
        BodyLimit,
        max_body_bytes=max_body_bytes,
        shared=keyring is not None,
        paths=with_body,
        limits=connections,
        check=check,
        streamed=adapter_routes.is_upload,
    )
    app.add_middleware(AnswerGzip, minimum_size=MIN_GZIP_BYTES)
    app.add_middleware(HeadRequests)
    app.add_middleware(Access, keyring=keyring)
    app.add_middleware(KnownHosts, names=hosts if keyring is None else None)
    app.add_middleware(RequestIds, responses=responses, paths=paths)  # the last one added is the outermost
    add_error_handlers(app)
    return app
