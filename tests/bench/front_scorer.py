"""A scorer of two fake engines that has a language model's tokenizer: `front_scorer.py READY_FILE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.bench.own_scorer import serve
from tests.bench.programs import model_folder

from icm_server.config import ServerConfig
from icm_server.engines.base import Engine
from icm_server.engines.hf_tokenizer import HfTokenizer
from icm_server.engines.places import ANYWHERE
from icm_server.pool.engine import PoolEngine

NUM_ENGINES = 2


async def make_engine() -> Engine:
    from transformers import AutoTokenizer

    tokenizer = HfTokenizer(AutoTokenizer.from_pretrained(model_folder("smollm2-135m")))
    config = ServerConfig(engine="fake", engines=NUM_ENGINES)
    return await PoolEngine.started(config, [ANYWHERE] * NUM_ENGINES, tokenizer, lambda text: None)


if __name__ == "__main__":
    asyncio.run(serve(make_engine, Path(sys.argv[1])))
