"""A scorer whose engine never answers a long prompt, so that passes wait: `blocked_scorer.py READY_FILE`."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from icm_server.engines.base import Engine, ReadAnswer
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

LONG = 70
"""Tokens: longer than an example by itself, and shorter than most contexts."""


class Blocked(FakeEngine):
    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        if len(token_ids) > LONG:
            await asyncio.Event().wait()
        return await super().read(token_ids, target_ids, *rest)


async def make_engine() -> Engine:
    return Blocked(max_prompt_tokens=2**15, max_concurrent_reads=8)


async def main(ready: Path) -> None:
    app = create_app(make_engine)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await app.state.scoring.startup_ended.wait()
        gc.collect()
        gc.freeze()
        ready.write_text(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}))
        await serving


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
