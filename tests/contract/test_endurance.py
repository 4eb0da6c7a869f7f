"""Many experiments at once on the fake engine, a short form of `python -m tests.bench endurance`."""

from __future__ import annotations

import pytest
from tests.bench.endurance import NUM_EXPERIMENTS, endure
from tests.bench.programs import scorer

pytestmark = pytest.mark.slow

SECONDS = 6.0


async def test_many_experiments_lose_nothing_and_get_nothing_twice() -> None:
    async with scorer("", "--read-cache-memory-mb", "1", engine="fake") as server:
        found = await endure(server.url, server.pid, SECONDS, num_passes=3)
    assert found.num_requests >= NUM_EXPERIMENTS
    assert (found.num_wrong, found.num_missing, found.num_twice, found.num_left) == (0, 0, 0, 0)
