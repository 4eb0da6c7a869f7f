"""Adapters of the fake engine: each changes its numbers in its own way, by its content alone."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE
from icm_client.contract.errors import ScorerError
from icm_server.adapters.weights_file import Shapes

WIDTH = 8
BASE: Shapes = {
    f"model.layers.{layer}.{module}.weight": (WIDTH, WIDTH)
    for layer in range(2)
    for module in ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
}
"""The layers of a model that the adapters are trained on, as it were."""
MAX_RANK = 16


class FakeAdapters:
    """See AdapterHost."""

    base, max_rank = BASE, MAX_RANK

    def __init__(self) -> None:
        self._seeds = {"base": 0}

    async def add(self, key: str, number: int, folder: Path) -> None:
        self._seeds[key] = await asyncio.to_thread(_seed, folder)

    async def remove(self, key: str) -> None:
        del self._seeds[key]

    def seed(self, key: str) -> int:
        """Raises ScorerError for an adapter that is not there (any more)."""
        if key not in self._seeds:
            raise ScorerError(f"the engine has no adapter {key!r}")
        return self._seeds[key]


def _seed(folder: Path) -> int:
    return zlib.crc32((folder / WEIGHTS_FILE).read_bytes(), zlib.crc32((folder / CONFIG_FILE).read_bytes()))
