"""Many reads through one endpoint: several prompts a request, a bounded number of requests at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icm_client.contract.label_trie import MAX_READ_IDS
from icm_client.openai_compat.endpoint import Answer, OpenAIEndpoint
from icm_client.openai_compat.gathered import gathered

MAX_PROMPTS, MAX_SIZE = 32, 100_000
"""The most prompts in one request, and tokens (or characters) of them."""
MAX_REQUESTS, MAX_SINGLE_REQUESTS = 8, 32
"""Requests at a time: of several prompts, and of one. A bounded window, so that a shared prefix is still in the
endpoint's cache when it is next wanted."""


class EndpointRead(NamedTuple):
    """One prompt, as text or as tokens, and the ids whose log-probabilities are wanted behind it (at most MAX_READ_IDS;
    none: the likeliest tokens are)."""

    prompt: str | list[int]
    wanted: tuple[int, ...] = ()


class EndpointAnswers(NamedTuple):
    """By read, in order, log-probabilities by token; what the endpoint says of the cost of all."""

    tops: list[dict[str, float]]
    prompt_tokens: int | None
    cached_tokens: int
    fingerprint: str | None


class Scored(NamedTuple):
    """By prompt its labels' log-probabilities, and its length in tokens where that is known; and the cost."""

    rows: list[list[float]]
    lengths: list[int] | None
    num_reads: int
    answers: EndpointAnswers


class Reader:
    """Reads of one model. `max_prompts` is the most prompts that the endpoint takes in one request."""

    def __init__(self, endpoint: OpenAIEndpoint, *, num_top: int, max_prompts: int):
        self.endpoint, self.num_top, self._max_prompts = endpoint, num_top, min(max_prompts, MAX_PROMPTS)

    async def read(self, model: str, reads: Sequence[EndpointRead]) -> EndpointAnswers:
        """Requests are begun in the order of the reads; the first failure gives the others up."""
        limit = MAX_REQUESTS if self._max_prompts > 1 else MAX_SINGLE_REQUESTS

        async def request(batch: Sequence[EndpointRead]) -> Answer:
            wanted = sorted({token for read in batch for token in read.wanted})
            prompts = [read.prompt for read in batch]
            return await self.endpoint.complete(model, prompts, num_top=self.num_top, wanted=wanted)

        answers = await gathered(request, batches(reads, self._max_prompts), limit)
        counts = [answer.prompt_tokens for answer in answers]
        return EndpointAnswers(
            [top for answer in answers for top in answer.tops],
            None if None in counts else sum(count or 0 for count in counts),
            sum(answer.cached_tokens or 0 for answer in answers),
            answers[-1].fingerprint if answers else None,
        )


def batches(reads: Sequence[EndpointRead], max_prompts: int) -> list[list[EndpointRead]]:
    """The reads in order, as few requests as the limits allow; each at least one read."""
    cut: list[list[EndpointRead]] = []
    wanted: set[int] = set()
    size = 0
    for read in reads:
        wanted = wanted.union(read.wanted)
        size += len(read.prompt)
        if not cut or len(cut[-1]) >= max_prompts or size > MAX_SIZE or len(wanted) > MAX_READ_IDS:
            cut.append([])
            wanted, size = set(read.wanted), len(read.prompt)
        cut[-1].append(read)
    return cut
