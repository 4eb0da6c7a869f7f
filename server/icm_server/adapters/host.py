"""The part of an engine that applies adapters. A leaf."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from icm_server.adapters.weights_file import Shapes


class AdapterHost(Protocol):
    """Adapters in one engine, by keys that are never used again. `Engine.read` takes a key as its model."""

    @property
    def base(self) -> Shapes:
        """The base model's tensors; empty if they are not known."""
        ...

    @property
    def max_rank(self) -> int: ...

    async def add(self, key: str, number: int, folder: Path) -> None:
        """Loads the checked adapter in `folder`, whose files stay as they are until it is removed. No two adapters have
        the same `number`, from 1 on. Raises RequestError if the engine refuses it, which is then as it was before."""
        ...

    async def remove(self, key: str) -> None:
        """Unloads an adapter that no read in the engine uses."""
        ...
