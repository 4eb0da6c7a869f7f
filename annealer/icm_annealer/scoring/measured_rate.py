"""Measures how fast a scorer computes tokens, with requests of the work that is to come."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from icm_annealer.scoring.passes import Scorer
from icm_client.contract.batches import subset
from icm_client.contract.wire import ScoreRequest
from icm_client.text.counts import counted

FIRST_PROMPTS = 8
LONGEST_PART = 0.15
"""The share of the time that one part may take, so that there are several to compare."""


class Part(NamedTuple):
    """A request, or some of its prompts, as it was answered."""

    num_prompts: int
    is_whole: bool
    num_tokens: int
    """Computed by the engine."""
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.num_tokens / self.seconds


@dataclass(frozen=True)
class MeasuredRate:
    """What was measured: whole requests, and the largest parts of others."""

    parts: Sequence[Part]
    """The fastest first. Each has computed something."""

    @property
    def tokens_per_s(self) -> float:
        """That of the faster half of the parts, since whatever else a machine does can only slow it down; NaN if there
        is none."""
        half = self.parts[: math.ceil(len(self.parts) / 2)]
        seconds = sum(part.seconds for part in half)
        return sum(part.num_tokens for part in half) / seconds if seconds else math.nan

    def __str__(self) -> str:
        """`measured: 5 parts, 380 to 420`."""
        rates = f", {self.parts[-1].tokens_per_s:,.0f} to {self.parts[0].tokens_per_s:,.0f}" if self.parts else ""
        return f"measured: {counted(len(self.parts), 'part')}{rates}"


async def measured_rate(
    scorer: Scorer, requests: Sequence[ScoreRequest], limit_s: float, clock: Callable[[], float]
) -> MeasuredRate:
    """Sends requests, or parts of them, for about `limit_s` seconds. Raises the errors of `score`.

    The first part warms the scorer up and is not counted. Parts grow as far as the time allows.
    """
    requests = [request for request in requests if request.prefixes] or requests
    left = deque(_Prompts(requests[number]) for number in _spread(len(requests)))
    end, parts, num, prompt_s = clock() + limit_s, list[Part](), FIRST_PROMPTS, 0.0
    await scorer.score(_Prompts(left[-1].request).take(1))
    while left:
        if prompt_s:
            num = min(num, max(int(LONGEST_PART * limit_s / prompt_s), 1), int((end - clock()) / prompt_s))
        if num < 1:
            break
        one = left.popleft()
        sent, start = one.take(num), clock()
        usage = (await scorer.score(sent)).usage
        seconds, num_prompts = clock() - start, len(sent.prompts)
        parts.append(Part(num_prompts, num_prompts == len(one.request.prompts), usage.computed_tokens, seconds))
        num, prompt_s = 4 * num, seconds / num_prompts
        if one.order:
            left.append(one)
    most = max((part.num_prompts for part in parts), default=0)
    large = [part for part in parts if part.is_whole or 2 * part.num_prompts >= most]
    computed = [part for part in large if part.num_tokens and part.seconds]
    return MeasuredRate(sorted(computed, key=lambda part: part.tokens_per_s, reverse=True))


class _Prompts:
    """The prompts of a request that are left to send."""

    def __init__(self, request: ScoreRequest):
        self.request, self.order = request, _spread(len(request.prompts))

    def take(self, num: int) -> ScoreRequest:
        """Up to `num` of them, which are spread over the request."""
        some, self.order = self.order[:num], self.order[num:]
        return subset(self.request, sorted(some)) if len(some) < len(self.request.prompts) else self.request


def _spread(num: int) -> list[int]:
    """The numbers below `num`, the middle first, and then the middles of what is left."""
    spread, parts = list[int](), deque([(0, num)])
    while parts:
        low, high = parts.popleft()
        if low < high:
            middle = (low + high) // 2
            spread.append(middle)
            parts += [(low, middle), (middle + 1, high)]
    return spread
