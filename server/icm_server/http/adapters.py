"""The scorer's paths for adapters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.types import Scope

from icm_client.contract.adapters import (
    ADAPTER_NAME,
    CONFIG_FILE,
    MAX_ADAPTER_NAME,
    WEIGHTS_FILE,
    AdapterFolder,
    AdapterInfo,
    AdapterList,
)
from icm_client.contract.errors import RequestError
from icm_server.http.routes import ReadyScorer
from icm_server.http.upload import FORM, JSON, receive_adapter

PATH = "/v1/adapters"
SHARED = "shared"

router = APIRouter()

_FILE = {"type": "string", "format": "binary"}
_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": ADAPTER_NAME, "maxLength": MAX_ADAPTER_NAME},
    },
    {
        "name": SHARED,
        "in": "query",
        "description": "For all keys; only an admin key may do this.",
        "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
    },
]
_BODY = {
    "required": True,
    "content": {
        JSON: {"schema": AdapterFolder.model_json_schema()},
        FORM: {
            "schema": {
                "type": "object",
                "properties": {CONFIG_FILE: _FILE, WEIGHTS_FILE: _FILE},
                "required": [CONFIG_FILE, WEIGHTS_FILE],
            }
        },
    },
}


def is_upload(scope: Scope) -> bool:
    """Whether the request's body may be an adapter, which is too large for memory."""
    return bool(scope["method"] == "PUT" and scope["path"].startswith(f"{PATH}/"))


@router.get(PATH)
async def adapters(request: Request, scorer: ReadyScorer) -> AdapterList:
    """The adapters that this key may use as `model`, beside `base`."""
    return scorer.adapters.listed(request.state.tenant)


@router.put(f"{PATH}/{{name}}", openapi_extra={"parameters": _PARAMETERS, "requestBody": _BODY})
async def put_adapter(request: Request, scorer: ReadyScorer) -> AdapterInfo:
    """Serves an adapter under this name, for this key alone, from now on. Requests that run end with the adapter that
    had the name."""
    name, tenant, shared = request.path_params["name"], request.state.tenant, _shared(request)
    async with scorer.adapters.arriving(name, tenant, shared=shared) as arrival:
        await receive_adapter(request, scorer.adapters, arrival)
        return await scorer.adapters.put(name, tenant, arrival, shared=shared)


@router.delete(f"{PATH}/{{name}}", openapi_extra={"parameters": _PARAMETERS})
async def delete_adapter(request: Request, scorer: ReadyScorer) -> AdapterInfo:
    """Takes the name away from an adapter of this key. Requests that run end with it."""
    return await scorer.adapters.delete(request.path_params["name"], request.state.tenant, shared=_shared(request))


def _shared(request: Request) -> bool:
    value = request.query_params.get(SHARED, "false")
    if value not in ("true", "false"):
        raise RequestError(f"{SHARED} is 'true' or 'false'")
    return value == "true"
