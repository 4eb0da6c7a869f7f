"""A scorer whose engine never answers a long prompt, so that passes wait: `blocked_scorer.py READY_FILE`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.own_scorer import serve

from icm_server.engines.base import Engine, ReadAnswer
from icm_server.engines.fake import FakeEngine

LONG = 70
"""Tokens: longer than an example by itself, and shorter than most contexts."""


class Blocked(FakeEngine):
    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        if len(token_ids) > LONG:
            await asyncio.Event().wait()
        return await super().read(token_ids, target_ids, *rest)


async def make_engine() -> Engine:
    return Blocked(max_prompt_tokens=2**15, max_concurrent_reads=8)


if __name__ == "__main__":
    asyncio.run(serve(make_engine, Path(sys.argv[1])))
