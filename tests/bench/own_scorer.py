"""Serves an engine of a benchmark's own until the program is ended."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from pathlib import Path

import uvicorn

from icm_server.http.app import create_app
from icm_server.lifecycle.scorer_state import EngineFactory


async def serve(make_engine: EngineFactory, ready: Path) -> None:
    """Writes its address into `ready` once it is ready."""
    app = create_app(make_engine)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await app.state.scoring.startup_ended.wait()
        gc.collect()
        gc.freeze()
        ready.write_text(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}))
        await serving
