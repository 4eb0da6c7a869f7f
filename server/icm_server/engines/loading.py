"""From a configuration to a running engine, with every foreseeable mistake told in a line. Blocking."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from icm_client.contract.errors import RequestError
from icm_server.config import ServerConfig
from icm_server.engines.base import Engine
from icm_server.engines.model_store import model_digest, resolve

Say = Callable[[str], None]


def load_engine(config: ServerConfig, say: Say) -> Engine:
    """Raises RequestError for what the user named wrongly, ScorerError if the engine does not start."""
    if config.engine == "fake":
        return _fake(config)
    from icm_server.engines import vllm as vllm_engine

    say("importing vLLM")
    vllm_engine.prepare(config.verbose)
    # The engine gets a folder, which has no revisions.
    arguments = {name: value for name, value in config.engine_args.items() if name != "revision"}
    revision = config.engine_args.get("revision")
    path = Path(
        resolve(
            config.model,
            config.cache.expanduser(),
            say,
            revision=None if revision is None else str(revision),
            runs_code=bool(arguments.get("trust_remote_code")),
        )
    )
    version = f"vllm {vllm_engine.version()}"
    say(f"loading {config.model} into vLLM")
    engine: Engine = vllm_engine.VllmEngine.load(
        config.model,
        path,
        model_digest(path, version),
        dtype=config.dtype,
        extra=arguments,
        adapters=config.adapters,
        adapter_digests={name: model_digest(Path(folder), version) for name, folder in config.adapters.items()},
    )
    return engine


def _fake(config: ServerConfig) -> Engine:
    from icm_server.engines.fake import FakeEngine

    known = set(inspect.signature(FakeEngine).parameters)
    for key in config.engine_args:
        if key not in known:
            raise RequestError(f"the fake engine has no argument {key!r}; it has {', '.join(sorted(known))}")
    return FakeEngine(**config.engine_args)
