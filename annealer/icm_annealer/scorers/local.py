"""`local:MODEL` and `fake:`: an `icm-server` that is started for one run and stopped afterwards."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from icm_annealer.scorers.kind import DEFAULT_ENGINE, Opening, ScorerKind
from icm_annealer.scoring.local_scorer import local_scorer
from icm_annealer.scoring.passes import Scorer
from icm_client import RequestError, ScorerClient

NEEDED = ("icm_server", "fastapi", "uvicorn")
"""The libraries of a scorer without a model. The scorer is a separate program, so they are not imported here."""


@dataclass(frozen=True)
class LocalServer(ScorerKind):
    """An `icm-server` started for one run."""

    starts_here = True

    install: str
    """How its dependencies are installed, for an error message."""
    default_model: str
    takes_engine = True
    engine: str | None = None
    """The engine; None takes it from the options."""

    def check(self, address: str, opening: Opening) -> None:
        if self.engine is not None and address:
            raise RequestError(f"the scorer `{self.engine}:` has no model, so nothing follows its colon: {address!r}")
        if self.engine is not None and opening.engine not in (DEFAULT_ENGINE, self.engine):
            raise RequestError(f"the scorer `{self.engine}:` has an engine of its own: leave out --engine")
        for package in NEEDED:
            if importlib.util.find_spec(package) is None:
                raise RequestError(
                    f"a scorer on this machine needs the package {package}, which is not installed: {self.install}",
                    code="missing_package",
                )

    @asynccontextmanager
    async def open(self, address: str, opening: Opening) -> AsyncIterator[Scorer]:
        self.check(address, opening)
        server = local_scorer(
            address or self.default_model, opening.on_wait, engine=self.engine or opening.engine, log=opening.log
        )
        async with server as url, ScorerClient(url, retry=opening.retry) as client:
            yield client
