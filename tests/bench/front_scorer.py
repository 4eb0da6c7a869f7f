"""A scorer of two fake engines that has a language model's tokenizer: `front_scorer.py READY_FILE`."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
from pathlib import Path

import uvicorn
from tests.bench.programs import model_folder

from icm_server.config import ServerConfig
from icm_server.engines.base import Engine
from icm_server.engines.hf_tokenizer import HfTokenizer
from icm_server.engines.places import ANYWHERE
from icm_server.http.app import create_app
from icm_server.pool.engine import PoolEngine

NUM_ENGINES = 2


async def make_engine() -> Engine:
    from transformers import AutoTokenizer

    tokenizer = HfTokenizer(AutoTokenizer.from_pretrained(model_folder("smollm2-135m")))
    config = ServerConfig(engine="fake", engines=NUM_ENGINES)
    return await PoolEngine.started(config, [ANYWHERE] * NUM_ENGINES, tokenizer, lambda text: None)


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
