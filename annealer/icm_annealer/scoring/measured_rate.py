"""Measures how fast a scorer computes tokens, with requests of the work that is to come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from icm_annealer.scoring.passes import Scorer
from icm_client.contract.batches import subset
from icm_client.contract.wire import ScoreRequest

FIRST_PROMPTS = 8


class MeasuredRate(NamedTuple):
    """What a measurement took."""

    num_tokens: int
    """Computed by the engine."""
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """NaN if nothing was computed."""
        return self.num_tokens / self.seconds if self.num_tokens and self.seconds else float("nan")


async def measured_rate(
    scorer: Scorer, requests: Sequence[ScoreRequest], limit_s: float, clock: Callable[[], float]
) -> MeasuredRate:
    """Sends requests, or parts of them, for about `limit_s` seconds. Raises the errors of `score`.

    The first part warms the scorer up and is not counted. Parts grow as far as the time allows. If whole requests were
    sent, the rate is that of these, else that of the last part.
    """
    requests = [request for request in requests if request.prefixes] or requests
    order = [requests[number] for number in _spread(len(requests))]
    end = clock() + limit_s
    await scorer.score(_part(order[-1], 1))
    whole, part, num, prompt_s = MeasuredRate(0, 0.0), MeasuredRate(0, 0.0), FIRST_PROMPTS, 0.0
    for request in order:
        num = min(num, int((end - clock()) / prompt_s)) if prompt_s else num
        if num < 1:
            break
        sent, start = _part(request, num), clock()
        usage = (await scorer.score(sent)).usage
        part = MeasuredRate(usage.computed_tokens, clock() - start)
        if len(sent.prompts) == len(request.prompts):
            whole = MeasuredRate(whole.num_tokens + part.num_tokens, whole.seconds + part.seconds)
        num, prompt_s = 4 * num, part.seconds / len(sent.prompts)
    return whole if whole.num_tokens else part


def _part(request: ScoreRequest, num: int) -> ScoreRequest:
    """About `num` of its prompts, which are spread over it."""
    step = -(-len(request.prompts) // num)
    return subset(request, range(0, len(request.prompts), step)) if step > 1 else request


def _spread(num: int) -> list[int]:
    """The numbers below `num`, the middle first, and then the middles of what is left."""
    spread, parts = list[int](), [(0, num)]
    while parts:
        low, high = parts.pop(0)
        if low < high:
            middle = (low + high) // 2
            spread.append(middle)
            parts += [(low, middle), (middle + 1, high)]
    return spread
