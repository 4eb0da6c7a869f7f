"""The scorer's paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from icm_client.wire import ModelInfo, ScoreRequest, ScoreResponse
from icm_server.scoring import Scorer

router = APIRouter()


def ready_scorer(request: Request) -> Scorer:
    """The scorer, or 503 with the reason while there is none."""
    scorer: Scorer = request.app.state.scoring.required()
    return scorer


ReadyScorer = Annotated[Scorer, Depends(ready_scorer)]


@router.post("/v1/score")
async def score(body: ScoreRequest, scorer: ReadyScorer) -> ScoreResponse:
    """Log-probabilities of every label after every prompt."""
    return await scorer.score(body)


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
