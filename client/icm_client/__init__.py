"""The scorer's client and its wire contract.

ScorerClient and SyncScorerClient score labels after prompts on an icm-server; OpenAIScorer does so through any
OpenAI-compatible `/v1/completions`. ScoreRequest, ScoreResponse, Usage, ModelInfo,
AdapterInfo and AdapterList are the contract; errors are subclasses of IcmError.
"""

from icm_client.client import ScorerClient
from icm_client.contract.adapters import AdapterInfo, AdapterList
from icm_client.contract.errors import (
    AccessError,
    BusyError,
    DeadlineError,
    IcmError,
    RequestError,
    ScorerError,
    TooLargeError,
    UnavailableError,
)
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse, Usage
from icm_client.http.retry import RetryPolicy
from icm_client.http.stream import Rows
from icm_client.openai_compat import OpenAIScorer
from icm_client.sync_client import SyncScorerClient

__all__ = [
    "AccessError",
    "AdapterInfo",
    "AdapterList",
    "BusyError",
    "DeadlineError",
    "IcmError",
    "ModelInfo",
    "OpenAIScorer",
    "RequestError",
    "RetryPolicy",
    "Rows",
    "ScoreRequest",
    "ScoreResponse",
    "ScorerClient",
    "ScorerError",
    "SyncScorerClient",
    "TooLargeError",
    "UnavailableError",
    "Usage",
]
