"""What a pool and a member's process send each other, as JSON.

    pool    {"start": {config}, "place": [environment, cores]}          first
            {"reads": [[number, kept, tokens, targets, model, rank, salt], ...]}
            {"cancel": [number, ...]}
            {"add": [number, key, adapter number, folder]}, {"remove": [number, key]}
    member  {"say": text}                                               while it loads
            {"ready": {...}} or {"failed": error}                       once
            {"answers": [[number, log-probabilities, cached tokens], ...], "errors": [[number, error], ...]}
            {"alive": true}                                             every ALIVE_EVERY_S seconds
            {"died": reason}                                            last

Reads travel in batches. Of a read's tokens only those are sent that differ from the read before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from icm_client.contract.errors import IcmError, RequestError, ScorerError
from icm_client.contract.wire import ModelInfo
from icm_server.adapters.host import AdapterHost
from icm_server.adapters.weights_file import Shapes
from icm_server.engines.base import Engine

ALIVE_EVERY_S = 1.0
"""Seconds between two signs of life of a member's process."""


class Read(NamedTuple):
    """The arguments of `Engine.read`, without the route."""

    token_ids: list[int]
    target_ids: Sequence[int]
    model: str
    rank: int
    salt: str | None


class SentReads:
    """Packs reads, or unpacks them in the same order at the other end."""

    def __init__(self) -> None:
        self._last: list[int] = []
        self._targets: list[int] = []

    def packed(self, number: int, read: Read) -> list[Any]:
        ids, targets = read.token_ids, list(read.target_ids)
        kept = num_common(self._last, ids)
        same = targets == self._targets
        self._last, self._targets = ids, targets
        return [number, kept, ids[kept:], None if same else targets, read.model, read.rank, read.salt]

    def unpacked(self, item: list[Any]) -> tuple[int, Read]:
        """The read and its number; the caller owns the tokens."""
        number, kept, ids, targets, model, rank, salt = item
        self._last = [*self._last[:kept], *ids]
        if targets is not None:
            self._targets = targets
        return number, Read(list(self._last), self._targets, model, rank, salt)


def num_common(one: list[int], other: list[int]) -> int:
    """The length of the common beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # bisection: comparing slices is fast and comparing tokens is not
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class AdapterRoom(NamedTuple):
    """What an engine says of its AdapterHost."""

    base: Shapes
    max_rank: int


class Ready(NamedTuple):
    """What an engine says of itself."""

    info: ModelInfo
    identity: str
    max_concurrent_reads: int
    max_concurrent_tokens: int
    cache_tokens: int
    adapters: AdapterRoom | None


def described(engine: Engine) -> dict[str, Any]:
    """The engine's `Ready`, as JSON."""
    host: AdapterHost | None = engine.adapters
    return {
        "info": engine.info.model_dump(mode="json"),
        "identity": engine.identity,
        "max_concurrent_reads": engine.max_concurrent_reads,
        "max_concurrent_tokens": engine.max_concurrent_tokens,
        "cache_tokens": engine.cache_tokens,
        "adapters": None if host is None else [{name: list(shape) for name, shape in host.base.items()}, host.max_rank],
    }


def ready_of(said: dict[str, Any]) -> Ready:
    """The inverse of `described`."""
    adapters = said["adapters"]
    room = None
    if adapters is not None:
        room = AdapterRoom({name: tuple(shape) for name, shape in adapters[0].items()}, adapters[1])
    return Ready(**{**said, "info": ModelInfo.model_validate(said["info"]), "adapters": room})


def packed_error(error: Exception) -> list[str]:
    """An error of the engine: whether it is the user's mistake, its message and its code."""
    kind = "request" if isinstance(error, RequestError) else "scorer"
    if isinstance(error, IcmError):
        return [kind, error.message, error.code]
    return [kind, f"{type(error).__name__}: {error}"[:400], ScorerError.code]


def error_of(said: list[str]) -> IcmError:
    """The inverse of `packed_error`."""
    kind, message, code = said
    return {"request": RequestError, "scorer": ScorerError}[kind](message, code=code)
