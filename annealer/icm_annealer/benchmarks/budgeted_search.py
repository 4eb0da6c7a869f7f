"""One search driven to its end, or to its budget, and what it cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from icm_annealer.core.arrays import Ints
from icm_annealer.scoring.cost_model import PrefixCache, TextTokens
from icm_annealer.scoring.passes import PassRequest, PassResult, PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Result, Search, StopSearch
from icm_client.contract.wire import ModelInfo, Usage

FIXED = PlanKind("fixed")


@dataclass
class Costs:
    """What the asks so far cost."""

    tokens: int = 0
    """Computed tokens counted by a cold prefix cache that forgets nothing."""
    fixed_tokens: int = 0
    """The same if all asks had been sent by plan `fixed`; 0 where nobody wants to know. Where the order never changes,
    as in the published search, most of a pass is what the pass before left in the cache."""
    fixed_tokens_cold: int = 0
    """The same if the cache forgot everything after each ask: what an engine computes that has no room for a pass."""
    usage: Usage = field(default_factory=Usage)
    """As the engine reported it."""
    num_asks: int = 0
    num_proposals: int = 0
    """PassRequests of the published search that propose a label: one an iteration."""
    num_reads: int = 0
    seconds: float = 0.0
    """Time in which answers were waited for."""


@dataclass(frozen=True)
class Trial:
    """A search that has ended."""

    result: Result
    costs: Costs
    is_stopped: bool

    @property
    def labels(self) -> Ints:
        return self.result.winner.labels

    @property
    def passes(self) -> float:
        """Reads an example."""
        return self.costs.num_reads / len(self.labels)

    def cost_figures(self) -> dict[str, Any]:
        """What a row says of the costs."""
        return {
            "tokens": self.costs.tokens,
            "computed_tokens": self.costs.usage.computed_tokens,
            "prompt_tokens": self.costs.usage.prompt_tokens,
            "num_asks": self.costs.num_asks,
            "passes": self.passes,
            "seconds": round(self.costs.seconds, 3),
            "is_stopped": self.is_stopped,
        }


class Arena:
    """Answers the asks of searches over the same examples, each search with a prefix cache of its own to count by."""

    def __init__(self, passes: PassScorer, tokens: TextTokens, model: ModelInfo):
        self._passes, self._tokens, self._block = passes, tokens, model.cache_block_tokens

    async def run(
        self,
        search: Search,
        *,
        budget_tokens: int | None = None,
        counts_fixed: bool = False,
        on_round: Callable[[Costs], None] = lambda costs: None,
    ) -> Trial:
        """Drives `search` to its end. With a budget, it is told that it is enough at the first round after that many
        tokens, so it has them all and at most a round more."""
        costs, is_stopped = Costs(), False
        own, fixed = self._cache(), self._cache() if counts_fixed else None
        requests = next(search)
        while True:
            answers = await self.answer(requests, costs)
            for request in requests:
                costs.tokens += self.count(own, request)
                if fixed:
                    costs.fixed_tokens += self.count(fixed, replace(request, plan=FIXED))
                    costs.fixed_tokens_cold += self.cold_cost(replace(request, plan=FIXED))
            on_round(costs)
            try:
                requests = search.send(answers)
                if not is_stopped and budget_tokens is not None and costs.tokens >= budget_tokens:
                    is_stopped = True
                    requests = search.throw(StopSearch())
            except StopIteration as stop:
                return Trial(stop.value, costs, is_stopped)

    async def answer(self, requests: Sequence[PassRequest], costs: Costs) -> list[PassResult]:
        """One round, measured into `costs`."""
        start = time.monotonic()
        tasks = [asyncio.ensure_future(self._passes.score(request)) for request in requests]
        try:
            answers = list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()  # where one has failed, nobody waits for the others
        costs.seconds += time.monotonic() - start
        costs.num_asks += len(requests)
        costs.num_proposals += sum(request.purpose == "propose" for request in requests)
        costs.num_reads += sum(len(request.queries) for request in requests)
        costs.usage = sum((answer.usage for answer in answers), costs.usage)
        return answers

    def count(self, cache: PrefixCache, request: PassRequest) -> int:
        """Tokens that `ask` computes on an engine that holds `cache`."""
        return cache.compute(self._passes.plan(request), request.labels)

    def cold_cost(self, request: PassRequest) -> int:
        """Tokens that `ask` computes on an engine that was asked nothing before."""
        return self.count(self._cache(), request)

    def _cache(self) -> PrefixCache:
        return PrefixCache(self._tokens, self._block)
