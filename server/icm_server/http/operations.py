"""The scorer's paths for operators: metrics, and the running experiments as JSON and as a page."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Request, Response

from icm_server.http.page_headers import page_headers
from icm_server.lifecycle.scorer_state import ScorerState
from icm_server.monitoring.metrics import CONTENT_TYPE, Metrics
from icm_server.monitoring.overview import Overview, overview

router = APIRouter()

PAGE = resources.files("icm_server.http").joinpath("page.html").read_text(encoding="utf-8")
PAGE_HEADERS = page_headers(PAGE)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus. An admin key shows all of them, other keys only their own experiments."""
    its: Metrics = request.app.state.metrics
    return Response(its.text(request.state.tenant), media_type=CONTENT_TYPE)


@router.get("/v1/experiments")
async def experiments(request: Request) -> Overview:
    """The experiments that the key may see, and the state of the scorer.

    Available also while the scorer is loading or draining.
    """
    state: ScorerState = request.app.state.scoring
    if state.scorer is None:
        return Overview(ready=False, status=state.status())
    return overview(state.scorer, request.state.tenant, ready=state.is_ready(), status=state.status())


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """A live page of `/v1/experiments`."""
    return Response(PAGE, media_type="text/html", headers=PAGE_HEADERS)
