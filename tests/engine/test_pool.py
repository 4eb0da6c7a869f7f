"""Two real engines as one: the answers of one engine, for about the same tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.conftest import SMALL
from tests.faults import check_same
from tests.pools import tree_pass

from icm_server.config import AdapterConfig, ServerConfig
from icm_server.engines.vllm import ENGINE
from icm_server.pool.engine import PoolEngine
from icm_server.pool.messages import Read
from icm_server.scheduling.scoring import ScoringService

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


async def test_two_engines_answer_as_one(tiny_engine: Any, tiny_llama: Path, tiny_lora: Path) -> None:
    request = tree_pass(24, 1, num_words=3)
    one = ScoringService(tiny_engine)
    expected = await one.score(request)
    await one.dispatcher.close()
    given = AdapterConfig(given={"a": str(tiny_lora)})
    config = ServerConfig(model=str(tiny_llama), engines=2, dtype="float32", engine_args=SMALL, adapters=given)
    assert ENGINE.pooling is not None
    tokenizer, places = ENGINE.pooling.load_tokenizer(config, print), ENGINE.pooling.places(config)
    pool = await PoolEngine.started(config, places, tokenizer, print)
    try:
        two = ScoringService(pool)
        found = await two.score(request)
        check_same(found.logprobs, expected.logprobs)
        assert found.usage.computed_tokens <= 1.10 * expected.usage.computed_tokens
        assert pool.adapters is not None
        await pool.adapters.add("1-a", 1, tiny_lora)
        read = Read([1, 2, 3], [5], "1-a", 0, None)
        base = await pool.running()[0].read(read._replace(model="base"))
        adapted = [await member.read(read) for member in pool.running()]
        check_same([adapted[0].logprobs], [adapted[1].logprobs])
        assert abs(adapted[0].logprobs[0] - base.logprobs[0]) > 1e-4
        await two.dispatcher.close()
    finally:
        await pool.close()
