"""`openai:URL`: any server with an OpenAI-compatible `/v1/completions`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from icm_annealer.scorers.kind import Opening, ScorerKind
from icm_annealer.scoring.passes import Scorer
from icm_client import OpenAIScorer
from icm_client.http.address import shown
from icm_client.http.endpoint_http import EndpointHttp


@dataclass(frozen=True)
class OpenAIEndpointKind(ScorerKind):
    """An OpenAI-compatible endpoint at a URL."""

    takes_model = True

    def check(self, address: str, opening: Opening) -> None:
        EndpointHttp(address, api_key=opening.read_key())

    @asynccontextmanager
    async def open(self, address: str, opening: Opening) -> AsyncIterator[Scorer]:
        opening.status(f"connecting to {shown(address)}")
        endpoint = await OpenAIScorer.open(
            address,
            model=opening.model,
            api_key=opening.read_key(),
            retry=opening.retry,
            on_wait=opening.on_wait,
        )
        async with endpoint:
            for note in endpoint.notes:
                opening.note(f"note: {note}")
            yield endpoint
