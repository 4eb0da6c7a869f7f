"""`local:MODEL` and `fake:`: an `icm-server` that is started for one run and stopped after it."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from icm_annealer.scorers.kind import Opening, ScorerKind
from icm_annealer.scoring.local_scorer import local_scorer
from icm_annealer.scoring.passes import Scorer
from icm_client import RequestError, ScorerClient

SERVER = "icm_server"
"""Started as a program; this package does not import it."""


@dataclass(frozen=True)
class LocalServer(ScorerKind):
    """A server of one's own."""

    default_model: str
    engine: str | None = None
    """The engine to use; None leaves it to the caller."""

    def check(self, address: str, opening: Opening) -> None:
        if importlib.util.find_spec(SERVER) is None:
            raise RequestError(f"a local scorer needs the package {SERVER}, which is not installed")

    @asynccontextmanager
    async def open(self, address: str, opening: Opening) -> AsyncIterator[Scorer]:
        self.check(address, opening)
        server = local_scorer(
            address or self.default_model, opening.on_wait, engine=self.engine or opening.engine, log=opening.log
        )
        async with server as url, ScorerClient(url, retry=opening.retry) as client:
            yield client
