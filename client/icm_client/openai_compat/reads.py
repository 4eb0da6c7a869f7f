"""Makes reads through one endpoint: several prompts per request, and a bounded number of concurrent requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icm_client.contract.label_trie import MAX_READ_IDS
from icm_client.openai_compat.endpoint import Answer, OpenAIEndpoint
from icm_client.openai_compat.gathered import gathered

MAX_PROMPTS, MAX_SIZE = 32, 100_000
"""The most prompts in one request, and the most tokens (or characters) in all of them."""
MAX_REQUESTS, MAX_SINGLE_REQUESTS = 8, 32
"""The most concurrent requests of several prompts, and of one prompt: few, so that a shared prefix is still in the
endpoint's cache for its next prompt."""


class EndpointRead(NamedTuple):
    """One prompt, as text or tokens, and the ids whose log-probabilities are requested after it (at most MAX_READ_IDS;
    without ids, the likeliest tokens')."""

    prompt: str | list[int]
    target_ids: tuple[int, ...] = ()


class EndpointAnswers(NamedTuple):
    """For each read, in order, log-probabilities by token; and the total cost as the endpoint reports it."""

    tops: list[dict[str, float]]
    prompt_tokens: int | None
    cached_tokens: int
    fingerprint: str | None


class Scored(NamedTuple):
    """For each prompt its labels' log-probabilities, and its length in tokens if known; and the total cost."""

    rows: list[list[float]]
    lengths: list[int] | None
    num_reads: int
    answers: EndpointAnswers


class Reader:
    """Makes reads of one model. `max_prompts` is the most prompts that the endpoint accepts in one request."""

    def __init__(self, endpoint: OpenAIEndpoint, *, num_top: int, max_prompts: int):
        self.endpoint, self.num_top, self._max_prompts = endpoint, num_top, min(max_prompts, MAX_PROMPTS)

    async def read(self, model: str, reads: Sequence[EndpointRead]) -> EndpointAnswers:
        """Requests start in the order of the reads; the first failure cancels the others."""
        limit = MAX_REQUESTS if self._max_prompts > 1 else MAX_SINGLE_REQUESTS

        async def request(batch: Sequence[EndpointRead]) -> Answer:
            target_ids = sorted({token for read in batch for token in read.target_ids})
            prompts = [read.prompt for read in batch]
            return await self.endpoint.complete(model, prompts, num_top=self.num_top, target_ids=target_ids)

        answers = await gathered(request, batches(reads, self._max_prompts), limit)
        counts = [answer.prompt_tokens for answer in answers]
        return EndpointAnswers(
            [top for answer in answers for top in answer.tops],
            None if None in counts else sum(count or 0 for count in counts),
            sum(answer.cached_tokens or 0 for answer in answers),
            answers[-1].fingerprint if answers else None,
        )


def batches(reads: Sequence[EndpointRead], max_prompts: int) -> list[list[EndpointRead]]:
    """The reads in order, in as few requests as the limits allow; each has at least one read."""
    cut: list[list[EndpointRead]] = []
    target_ids: set[int] = set()
    size = 0
    for read in reads:
        target_ids = target_ids.union(read.target_ids)
        size += len(read.prompt)
        if not cut or len(cut[-1]) >= max_prompts or size > MAX_SIZE or len(target_ids) > MAX_READ_IDS:
            cut.append([])
            target_ids, size = set(read.target_ids), len(read.prompt)
        cut[-1].append(read)
    return cut
