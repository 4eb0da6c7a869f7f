"""The scorer's client and its wire contract.

ScorerClient and SyncScorerClient score labels after prompts on an icm-server; OpenAIScorer does so through any
OpenAI-compatible `/v1/completions`. ScoreRequest, ScoreResponse, Usage, ModelInfo,
AdapterInfo and AdapterList are the contract; errors are subclasses of IcmError. What they need is imported when it is
first used: a scorer, which takes only the contract, starts without an HTTP client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "AccessError": "icm_client.contract.errors",
    "AdapterInfo": "icm_client.contract.adapters",
    "AdapterList": "icm_client.contract.adapters",
    "BusyError": "icm_client.contract.errors",
    "DeadlineError": "icm_client.contract.errors",
    "IcmError": "icm_client.contract.errors",
    "ModelInfo": "icm_client.contract.wire",
    "OpenAIScorer": "icm_client.openai_compat",
    "RequestError": "icm_client.contract.errors",
    "RetryPolicy": "icm_client.http.retry",
    "Rows": "icm_client.http.stream",
    "ScoreRequest": "icm_client.contract.wire",
    "ScoreResponse": "icm_client.contract.wire",
    "ScorerClient": "icm_client.client",
    "ScorerError": "icm_client.contract.errors",
    "SyncScorerClient": "icm_client.sync_client",
    "TooLargeError": "icm_client.contract.errors",
    "UnavailableError": "icm_client.contract.errors",
    "Usage": "icm_client.contract.wire",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
