"""The scorer's paths."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request

from icm_client.errors import UnavailableError
from icm_client.wire import ModelInfo, ScoreRequest, ScoreResponse, TokensRequest, TokensResponse
from icm_server.scoring import Scorer

router = APIRouter()

_Answer = TypeVar("_Answer")


def ready_scorer(request: Request) -> Scorer:
    """The scorer, or 503 with the reason while there is none."""
    scorer: Scorer = request.app.state.scoring.required()
    return scorer


ReadyScorer = Annotated[Scorer, Depends(ready_scorer)]


@router.post("/v1/score")
async def score(body: ScoreRequest, scorer: ReadyScorer, request: Request) -> ScoreResponse:
    """Log-probabilities of every label after every prompt."""
    return await _while_wanted(request, scorer.score(body))


@router.post("/v1/tokens")
async def tokens(body: TokensRequest, scorer: ReadyScorer) -> TokensResponse:
    """How many tokens each text has: for laying out contexts."""
    return TokensResponse(counts=await scorer.count_tokens(body.texts))


@router.get("/v1/model")
async def model(scorer: ReadyScorer) -> ModelInfo:
    """Which model answers, and its limits."""
    return scorer.engine.info


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is there."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(scorer: ReadyScorer) -> dict[str, str]:
    """A real read has succeeded."""
    return {"status": "ready", "model": scorer.engine.info.name}


async def _while_wanted(request: Request, work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """The work's answer; given up when the caller has gone or the scorer is being stopped, so that it costs no more."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    stopping = asyncio.create_task(request.app.state.scoring.stopping.wait())
    try:
        await asyncio.wait({task, gone, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        reason = "the scorer is being stopped" if stopping.done() else "the caller has gone"
        raise UnavailableError(reason, code="given_up")
    finally:
        for each in (task, gone, stopping):
            each.cancel()
        await asyncio.gather(task, gone, stopping, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
