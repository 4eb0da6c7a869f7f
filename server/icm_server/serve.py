"""One scorer process, from its first line to its exit code."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import uvicorn

from icm_client.errors import RequestError
from icm_server.app import ScorerState, create_app
from icm_server.config import ServerConfig
from icm_server.engines.base import Engine
from icm_server.models import model_digest, resolve

Say = Callable[[str], None]

READY = """\
ready: {name} ({dtype}, {engine}) at {url}   try it:
curl -s {url}/v1/score -H 'Content-Type: application/json' -d '{{"prompts": ["Word: salmon\\nGroup:"], \
"labels": [" living", " object"]}}'"""


def serve(config: ServerConfig) -> int:
    """Serves until a signal ends it (0) or the engine fails (1). Raises RequestError for a busy port."""
    listener = _listen(config.host, config.port)
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    return asyncio.run(_serve(config, listener, url))


async def _serve(config: ServerConfig, listener: socket.socket, url: str) -> int:
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {text}", file=sys.stderr, flush=True)

    async def make_engine() -> Engine:
        return await _make_engine(config, say)

    app = create_app(make_engine, max_body_bytes=config.max_body_bytes)
    level = "info" if config.verbose else "warning"
    server = uvicorn.Server(
        uvicorn.Config(app, log_level=level, timeout_graceful_shutdown=10, access_log=config.verbose)
    )
    watching = asyncio.create_task(_watch(app.state.scoring, server, config, url, say))
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    failure = app.state.scoring.failure
    if failure is not None:
        print(f"error: {failure}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _watch(state: ScorerState, server: uvicorn.Server, config: ServerConfig, url: str, say: Say) -> None:
    """Tells when the scorer is ready, and ends the server when the engine fails, then or later."""
    while not state.changed.is_set():
        try:
            await asyncio.wait_for(state.changed.wait(), 5)
        except TimeoutError:
            say(state.reason)
    while state.failure is None:
        if state.scorer is not None and state.changed.is_set():
            info = state.scorer.engine.info
            print(READY.format(name=info.name, dtype=info.dtype, engine=info.engine, url=url), flush=True)
            if config.ready_file:
                _write(config.ready_file, url)
        state.changed.clear()
        await state.changed.wait()
    server.should_exit = True


async def _make_engine(config: ServerConfig, say: Say) -> Engine:
    if config.engine == "fake":
        from icm_server.engines.fake import FakeEngine

        return FakeEngine(**config.engine_args)
    say("importing vLLM")
    vllm_engine = await asyncio.to_thread(_import_vllm, config.verbose)
    path = Path(await asyncio.to_thread(resolve, config.model, config.cache.expanduser(), say))
    digest = await asyncio.to_thread(model_digest, path)
    say(f"loading {config.model} into vLLM")
    engine: Engine = await vllm_engine.VllmEngine.start(
        config.model, path, digest, dtype=config.dtype, extra=config.engine_args, adapters=config.adapters
    )
    return engine


def _import_vllm(verbose: bool) -> ModuleType:
    from icm_server.engines import vllm as vllm_engine

    try:
        vllm_engine.prepare_environment(verbose)
        importlib.import_module("vllm")
    except ImportError as error:
        raise RequestError(
            f"vLLM is not installed here ({error}): install the extra server-cpu or server-gpu, or use --engine fake"
        ) from None
    if not verbose:
        logging.getLogger("vllm").setLevel(logging.ERROR)
    return vllm_engine


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise RequestError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --port, or 0 for a free one",
            code="busy_port",
        ) from None
    return listener


def _write(path: Path, url: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps({"url": url}) + "\n")
    partial.replace(path)
