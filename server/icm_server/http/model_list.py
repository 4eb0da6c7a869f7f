"""`GET /v1/models`, for clients of OpenAI's API."""

from __future__ import annotations

import time
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from icm_server.http.routes import ReadyScorer

router = APIRouter()

OWNER = "icm-server"
_BEGUN = int(time.time())


class ModelCard(BaseModel):
    """One model. Its id is a name that `/v1/score` takes, except for the base model's own name."""

    id: str
    object: Literal["model"] = "model"
    created: int = _BEGUN
    """When this scorer was started, in seconds since 1970; when the model was made is not known."""
    owned_by: str = OWNER
    root: str
    """The base model's name."""
    parent: str | None = None
    """For an adapter: `base`."""


class ModelList(BaseModel):
    """OpenAI's list format."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


@router.get("/v1/models")
async def models(request: Request, scorer: ReadyScorer) -> ModelList:
    """The base model, by its name and as `base`, and the adapters that this key may use. /v1/model has more details."""
    info = scorer.info_for(request.state.tenant)
    name = info.name
    names = [name, *(["base"] if name != "base" else [])]
    cards = [ModelCard(id=each, root=name) for each in names]
    cards += [ModelCard(id=each, root=name, parent="base") for each in info.adapters]
    return ModelList(data=cards)
