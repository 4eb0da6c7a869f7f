"""The engines that `icm-server serve --engine NAME` can start.

An engine is a module with an `EngineKind`, and a line here; or an installed package names one in its metadata:

    [project.entry-points."icm.engines"]
    toy = "toy_engine:ENGINE"
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from icm_client.contract.errors import RequestError
from icm_server.config import ServerConfig
from icm_server.engines.base import Engine

GROUP = "icm.engines"
Say = Callable[[str], None]
"""Reports a step of loading, in a line."""

_DEFAULTS = ServerConfig()


@dataclass(frozen=True)
class EngineKind:
    """How one engine is made."""

    load: Callable[[ServerConfig, Say], Engine]
    """Blocking, in any thread; the engine is used in one event loop afterwards. Raises RequestError for a mistake of
    the user's, ScorerError if the engine does not start."""
    takes: frozenset[str] = frozenset()
    """Which of OPTIONS it uses; the others are rejected."""
    captures_output: bool = False
    """Its libraries and processes print; that is kept off the terminal, and searched for the cause of a failure."""


OPTIONS = {"dtype": "--dtype", "engine_args": "--engine-arg", "adapters": "--adapter"}
"""Fields of the ServerConfig that only some engines use, and how they are set."""


class OwnEngine(NamedTuple):
    """An engine of this package: what is known of it before its module is imported."""

    module: str
    purpose: str
    extras: tuple[str, ...]
    """Extras of the distribution, each of which installs what it needs."""


_OWN = {
    "vllm": OwnEngine("icm_server.engines.vllm", "any model that vLLM runs", ("server-cpu", "server-gpu")),
    "fake": OwnEngine("icm_server.engines.fake", "needs no model, for trying out", ("server",)),
}


def extras_of(name: str) -> tuple[str, ...]:
    """Which extras install what a scorer with this engine needs, any one of them."""
    return _OWN[name].extras if name in _OWN else ("server",)


def described_engines() -> str:
    """All names, each with what it is for or the package that it comes from. Loads none of them."""
    own = [f"{name} ({engine.purpose})" for name, engine in _OWN.items()]
    others = [f"{name} (from {each.dist.name if each.dist else each.module})" for name, each in _installed().items()]
    return ", ".join([*own, *others])


def engine_kind(name: str) -> EngineKind:
    """The engine of that name. Raises RequestError if there is none, or if its package cannot be loaded."""
    if name in _OWN:
        kind: EngineKind = importlib.import_module(_OWN[name].module).ENGINE
        return kind
    entry = _installed().get(name)
    if entry is None:
        raise RequestError(f"no engine {name!r}: there are {described_engines()}", code="unknown_engine")
    try:
        found = entry.load()
    except Exception as error:  # code of others, which may raise anything
        problem = f"cannot load {entry.value}: {type(error).__name__}: {error}".splitlines()[0]
        raise RequestError(f"the engine {name!r}: {problem}", code="bad_engine") from None
    if not isinstance(found, EngineKind):
        raise RequestError(f"the engine {name!r}: {entry.value} is not an EngineKind", code="bad_engine")
    return found


def check_options(kind: EngineKind, config: ServerConfig) -> None:
    """Raises RequestError for an option that the engine does not use."""
    for field, option in OPTIONS.items():
        if field not in kind.takes and getattr(config, field) != getattr(_DEFAULTS, field):
            raise RequestError(f"the engine {config.engine!r} does not take {option}", code="engine_option")


def _installed() -> dict[str, EntryPoint]:
    """Engines of other packages; one that has the name of our own is not listed."""
    return {each.name: each for each in entry_points(group=GROUP) if each.name not in _OWN}
