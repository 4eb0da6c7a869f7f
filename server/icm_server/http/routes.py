"""The scorer's paths for scoring."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from icm_client.contract.wire import STREAM_TYPE, ModelInfo, ScoreRequest, ScoreResponse, TokensRequest, TokensResponse
from icm_server.auth.tenant import Tenant
from icm_server.http.json_body import documented, parsed, score_body
from icm_server.http.streaming import LineResponse
from icm_server.middleware.cancel_on_disconnect import cancel_on_disconnect
from icm_server.scheduling.answer_writing import AnswerWriter
from icm_server.scheduling.scoring import ScoringService
from icm_server.scheduling.whole_answer import PIECE_VALUES, WholeResponse

SCORE_PATH = "/v1/score"

router = APIRouter()


def ready_scorer(request: Request) -> ScoringService:
    """The scorer, or 503 with the reason if it is not ready."""
    scorer: ScoringService = request.app.state.scoring.required()
    return scorer


ReadyScorer = Annotated[ScoringService, Depends(ready_scorer)]
ScoreBody = Annotated[ScoreRequest, Depends(score_body)]


@router.post(
    SCORE_PATH,
    response_model=ScoreResponse,
    responses={200: {"content": {STREAM_TYPE: {}}}},
    openapi_extra=documented(ScoreRequest),
)
async def score(body: ScoreBody, scorer: ReadyScorer, request: Request) -> Response:
    """Log-probabilities of every label after every prompt; streamed if `Accept` is application/x-ndjson."""
    tenant: Tenant = request.state.tenant
    num_values = len(body.prompts) * len(body.labels)
    writer = AnswerWriter(scorer.writing, tenant, num_values, request.app.state.answer_stall_s)
    if STREAM_TYPE in request.headers.get("accept", ""):
        answers = await cancel_on_disconnect(request, scorer.begin(body, tenant))
        return LineResponse(answers, scorer.info_of(answers, tenant), writer)
    with ExitStack() as held:
        held.enter_context(scorer.whole_answers.held(num_values, tenant))
        answer = await cancel_on_disconnect(request, scorer.score(body, tenant))
        if num_values <= PIECE_VALUES:
            return Response(answer.model_dump_json(), media_type="application/json")
        return WholeResponse(answer, writer, held.pop_all().close)


@router.post("/v1/tokens", openapi_extra=documented(TokensRequest))
async def tokens(request: Request, scorer: ReadyScorer) -> TokensResponse:
    """The number of tokens of each text, for planning contexts."""
    body = await parsed(request, TokensRequest)
    counting = scorer.count_tokens(
        body.texts, request.state.tenant, special_tokens=body.special_tokens, deadline_s=body.deadline_s
    )
    return TokensResponse(counts=await cancel_on_disconnect(request, counting))


@router.get("/v1/model")
async def model(request: Request, scorer: ReadyScorer) -> ModelInfo:
    """The model that answers, and its limits."""
    return scorer.info_for(request.state.tenant)
