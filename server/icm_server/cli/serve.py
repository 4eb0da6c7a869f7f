"""Runs one scorer process, from its start to its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from icm_client.text.visible import visible
from icm_server.adapters.store import Store
from icm_server.auth.keyring import Keyring
from icm_server.config import ServerConfig
from icm_server.engines.base import Engine
from icm_server.engines.captured_output import CapturedOutput, explained
from icm_server.engines.registry import EngineKind, Say, check_options, engine_kind
from icm_server.http.app import create_app
from icm_server.lifecycle.draining import Draining
from icm_server.lifecycle.ready_file import check_ready_file, write_ready_file
from icm_server.lifecycle.scorer_state import ScorerState
from icm_server.lifecycle.stopping import end_children, on_signal
from icm_server.logs import event, set_up_logging
from icm_server.middleware.access import keyring_for
from icm_server.pool.engine import PoolEngine
from icm_server.read_cache.own_database import check_ours
from icm_server.transport.descriptors import raise_limit, room_for_connections
from icm_server.transport.http_server import HttpServer
from icm_server.transport.listener import listen

log = logging.getLogger("icm_server")

PROGRESS_EVERY_S = 5.0
_Loaded = TypeVar("_Loaded")

READY = """\
ready: {name} ({dtype}, {engine}) at {url}   try it:
curl -s {url}/v1/score {key}-H 'Content-Type: application/json' -d '{{"prompts": ["Word: salmon\\nGroup:"], \
"labels": [" living", " object"]}}'"""
WITH_KEY = """-H "Authorization: Bearer $(cat me.key)" """


def serve(config: ServerConfig) -> int:
    """Serves until a signal (returns 0) or until the engine fails (returns 1). Raises RequestError for a port in use,
    invalid keys, or a file or folder to write to that belongs to another program."""
    kind = engine_kind(config.engine)
    check_options(kind, config)
    if config.ready_file:
        check_ready_file(config.ready_file)
    if config.scoring.read_cache_file:
        check_ours(config.scoring.read_cache_file.expanduser())
    if config.adapters.store:
        Store.open(config.adapters.store).close()
    keyring = keyring_for(config)
    listener = listen(config.host, config.port)
    captured = CapturedOutput() if kind.captures_output and not config.verbose else None
    set_up_logging(config.log_format, sys.stderr, verbose=config.verbose)
    url = url_at(config.host, listener.getsockname()[1])
    failure = asyncio.run(_serve(config, kind, keyring, listener, url))
    end_children()
    if failure:
        cause = captured.cause() if captured else None
        event(log, "scorer failed", logging.ERROR, reason=explained(failure, cause))
    code = 1 if failure else 0
    if any(thread.name == "load-engine" for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(code)  # a half-loaded engine may not stop, so the process exits without waiting
    return code


def url_at(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(
    config: ServerConfig, kind: EngineKind, keyring: Keyring | None, listener: socket.socket, url: str
) -> str | None:
    """Returns the reason of a failure, or None."""

    def say(text: str) -> None:
        event(log, text)

    async def make_engine() -> Engine:
        if config.engines == 1 or kind.pooling is None:
            return await _in_thread(lambda: kind.load(config, step))
        pooling = kind.pooling
        tokenizer, places = await _in_thread(lambda: (pooling.load_tokenizer(config, step), pooling.places(config)))
        step(f"loading {config.engines} engines")
        return await PoolEngine.started(config, places, tokenizer, step)

    own_names = (config.host, *(config.published_at or "").split(","), socket.gethostname())
    app = create_app(
        make_engine,
        scoring=config.scoring,
        max_body_bytes=config.max_body_bytes,
        keyring=keyring,
        connections=config.connections,
        hosts=(*own_names, *config.allow_hosts),
        adapters=config.adapters,
    )
    state: ScorerState = app.state.scoring

    def step(text: str) -> None:
        state.reason = text
        say(text)

    server = HttpServer(
        app,
        config.connections,
        max_connections=room_for_connections(config.connections.max_connections, raise_limit()),
        has_keys=keyring is not None,
        access_log=config.verbose,
    )

    def stop() -> None:
        state.stopping.set()
        server.should_exit = True

    on_signal(Draining(state, config.drain_s, stop).signalled)
    key = WITH_KEY if keyring else ""
    watching = asyncio.create_task(_watch(state, config, url, key, say))
    watching.add_done_callback(lambda _: stop())
    await server.serve(sockets=[listener])
    watching.cancel()
    return state.failure


async def _watch(state: ScorerState, config: ServerConfig, url: str, key: str, say: Say) -> None:
    """Reports loading and readiness; returns when the scorer has failed, before or after it was ready.

    `key`: how an example request passes its key.
    """
    while not state.startup_ended.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(state.startup_ended.wait(), PROGRESS_EVERY_S)
            break
        say(state.reason)
    if state.scorer is not None:
        # Loaded objects are permanent; collecting garbage among them would block all requests for 0.1 s.
        gc.collect()
        gc.freeze()
        info = state.scorer.info
        event(log, "ready", model=info.name, digest=info.digest, dtype=info.dtype, engine=info.engine, url=url)
        ready = READY.format(name=info.name, dtype=info.dtype, engine=info.engine, url=url, key=key)
        print(visible(ready, lines=True), flush=True)
        if config.ready_file:
            try:
                write_ready_file(config.ready_file, url)
            except OSError as error:
                state.fail(f"cannot write the ready file {config.ready_file}: {error.strerror}")
    await state.failed.wait()


async def _in_thread(load: Callable[[], _Loaded]) -> _Loaded:
    """Loading blocks for half a minute and has to be abandoned on exit, so it runs in a daemon thread."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[_Loaded] = loop.create_future()

    def settle(outcome: Callable[[], None]) -> None:
        if not loaded.cancelled():
            outcome()

    def run() -> None:
        try:
            outcome = functools.partial(loaded.set_result, load())
        except Exception as error:
            outcome = functools.partial(loaded.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="load-engine", daemon=True).start()
    return await loaded
