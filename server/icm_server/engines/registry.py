"""The engines that `icm-server serve --engine NAME` can start.

To add an engine, write a module with an `EngineKind` and add a line here, or register one from an installed package:

    [project.entry-points."icm.engines"]
    toy = "toy_engine:ENGINE"
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from icm_client.contract.entry_points import EntryPointGroup
from icm_client.contract.errors import RequestError
from icm_server.config import ServerConfig
from icm_server.engines.base import Engine, TextTokenizer
from icm_server.engines.places import Place

Say = Callable[[str], None]
"""Reports a step of loading in one line."""

_DEFAULTS = ServerConfig()


@dataclass(frozen=True)
class Pooling:
    """What a pool needs of a kind of engines, besides the engines."""

    load_tokenizer: Callable[[ServerConfig, Say], TextTokenizer]
    """The engines' tokenizer, as for `EngineKind.load`. A model is downloaded and converted here, before any engine
    loads it."""
    places: Callable[[ServerConfig], Sequence[Place]]
    """One for each of `config.engines`. Raises RequestError if the machine does not have them."""


@dataclass(frozen=True)
class EngineKind:
    """How to load one engine."""

    load: Callable[[ServerConfig, Say], Engine]
    """Loads the engine: blocking, in any thread; the engine is then used in one event loop. Raises RequestError for a
    user's mistake, ScorerError if the engine does not start."""
    takes: frozenset[str] = frozenset()
    """The OPTIONS that it uses; others are rejected."""
    pooling: Pooling | None = None
    """None: there can be only one engine."""
    captures_output: bool = False
    """Its libraries and processes print: keep this off the terminal, and search it for the cause of a failure."""


OPTIONS = {"dtype": "--dtype", "engine_args": "--engine-arg", "adapters": "--adapter and --adapter-store"}
"""Fields of ServerConfig that only some engines use, and the command-line options that set them."""


class OwnEngine(NamedTuple):
    """An engine of this package, as described before its module is imported."""

    module: str
    purpose: str
    extras: tuple[str, ...]
    """Extras of the distribution; any one of them installs the dependencies."""


_OWN = {
    "vllm": OwnEngine("icm_server.engines.vllm", "any model that vLLM runs", ("server-cpu", "server-gpu")),
    "fake": OwnEngine("icm_server.engines.fake", "needs no model, for trying out", ("server",)),
}
_INSTALLED = EntryPointGroup("icm.engines", "engine", EngineKind, _OWN)


def extras_of(name: str) -> tuple[str, ...]:
    """The extras of which any one installs the dependencies of a scorer with this engine."""
    return _OWN[name].extras if name in _OWN else ("server",)


def described_engines() -> str:
    """All names, each with its purpose or its package. Imports none of the engines."""
    own = [f"{name} ({engine.purpose})" for name, engine in _OWN.items()]
    others = [f"{name} (from {package})" for name, package in _INSTALLED.packages().items()]
    return ", ".join([*own, *others])


def engine_kind(name: str) -> EngineKind:
    """The engine of that name. Raises RequestError if there is none, or if its package cannot be loaded."""
    if (found := _INSTALLED.load(name)) is not None:
        return found
    if name not in _OWN:
        raise RequestError(f"no engine {name!r}: there are {described_engines()}", code="unknown_engine")
    kind: EngineKind = importlib.import_module(_OWN[name].module).ENGINE
    return kind


def check_options(kind: EngineKind, config: ServerConfig) -> None:
    """Raises RequestError for an option that the engine does not use."""
    for field, option in OPTIONS.items():
        if field not in kind.takes and getattr(config, field) != getattr(_DEFAULTS, field):
            raise RequestError(f"the engine {config.engine!r} does not take {option}", code="engine_option")
    if config.engines > 1 and kind.pooling is None:
        raise RequestError(f"the engine {config.engine!r} does not take --engines: start one", code="engine_option")
