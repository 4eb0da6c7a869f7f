"""`http://HOST:PORT`: a running `icm-server`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from icm_annealer.scorers.kind import Opening, ScorerKind
from icm_annealer.scoring.passes import Scorer
from icm_client import ScorerClient


@dataclass(frozen=True)
class IcmServer(ScorerKind):
    """A running `icm-server` at a URL."""

    scheme: str

    def check(self, address: str, opening: Opening) -> None:
        self._client(address, opening)

    @asynccontextmanager
    async def open(self, address: str, opening: Opening) -> AsyncIterator[Scorer]:
        async with self._client(address, opening) as client:
            retry = opening.retry
            await client.wait_ready(retry.patience_s, opening.on_wait, unreachable_s=retry.unreachable_s)
            for note in client.notes:
                opening.note(f"note: {note}")
            yield client

    def _client(self, address: str, opening: Opening) -> ScorerClient:
        return ScorerClient(f"{self.scheme}:{address}", api_key=opening.read_key(), retry=opening.retry)
