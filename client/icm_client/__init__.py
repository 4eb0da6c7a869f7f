"""The scorer's wire contract and its client."""

from icm_client.client import ScorerClient
from icm_client.contract.errors import (
    AccessError,
    BusyError,
    DeadlineError,
    IcmError,
    RequestError,
    ScorerError,
    UnavailableError,
)
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse, Usage
from icm_client.http.stream import Rows
from icm_client.openai_compat import OpenAIScorer
from icm_client.sync_client import SyncScorerClient

__all__ = [
    "AccessError",
    "BusyError",
    "DeadlineError",
    "IcmError",
    "ModelInfo",
    "OpenAIScorer",
    "RequestError",
    "Rows",
    "ScoreRequest",
    "ScoreResponse",
    "ScorerClient",
    "ScorerError",
    "SyncScorerClient",
    "UnavailableError",
    "Usage",
]
