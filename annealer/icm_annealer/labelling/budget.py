"""The budget of a run: the most that its search may cost over all processes that work on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icm_annealer.runs.costs import Spent
from icm_annealer.runs.schema.journal import StoppedBy
from icm_annealer.scoring.cost_model import TokenCounter
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.search.base import FINALISTS, Problem, zero_shot_request
from icm_annealer.search.driver import Costs
from icm_annealer.searches.settings import Settings
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted


@dataclass(frozen=True)
class Budget:
    """Limits of tokens that the engine computes and of minutes of waiting for it; None is no limit."""

    max_tokens: int | None = None
    max_minutes: float | None = None

    @property
    def is_limited(self) -> bool:
        return self.max_tokens is not None or self.max_minutes is not None

    def check(self, settings: Settings) -> None:
        """Raises RequestError for a limit that is no positive number, or that the search cannot keep."""
        for option, value in (("--max-tokens", self.max_tokens), ("--max-minutes", self.max_minutes)):
            if value is not None and not 0 < value < math.inf:
                raise RequestError(f"{option} is {value}: a number above 0 is needed", code="bad_budget")
        if self.is_limited and not settings.kind.can_stop:
            raise RequestError(
                f"the search {settings.search} cannot be stopped before its end, so it takes no budget",
                code="bad_budget",
            )

    def text(self) -> str:
        """The limits in words."""
        tokens = [] if self.max_tokens is None else [counted(self.max_tokens, "token")]
        return " and ".join(tokens + ([] if self.max_minutes is None else [f"{self.max_minutes:.3g} minutes"]))


NO_BUDGET = Budget()


class SearchBudget:
    """Stops a search so that its end, the first common order of its answers, fits into the budget.

    The tokens of passes that are still to come are counted for an empty prefix cache; their time is estimated from the
    tokens and the time of the passes so far.
    """

    def __init__(self, budget: Budget, spent: Spent, counter: TokenCounter, problem: Problem, num_answers: int):
        """`spent` is what earlier processes spent, `num_answers` how many answers the search evaluates at its end."""
        self._budget, self._before, self._counter = budget, spent, counter
        first = counter.cold(zero_shot_request(problem))
        labels, order = np.arange(problem.num_examples) % problem.num_labels, np.arange(len(problem.units))
        one_answer = counter.cold(problem.request(labels, order, FINALISTS))
        self._least, self._end = first + one_answer, num_answers * one_answer
        self.stopped_by: StoppedBy | None = None
        """The limit that was reached."""
        self.needed = NO_BUDGET
        """About the least limit of that kind with which the search goes on."""

    def check(self) -> None:
        """Raises RequestError if the limit of tokens does not suffice for one pass and the evaluation of its labels."""
        least, most = self._least, self._budget.max_tokens
        if most is not None and most < least and not self._before.usage.num_reads:
            raise RequestError(
                f"a budget of {most:,} tokens is too small: one pass without contexts and the evaluation of the labels "
                f"take about {least:,}",
                code="bad_budget",
            )

    def stops(self, costs: Costs, requests: Sequence[PassRequest]) -> bool:
        """Whether the search must stop before it asks for these passes."""
        tokens = self._before.usage.computed_tokens + costs.usage.computed_tokens
        seconds = self._before.search_seconds + costs.seconds
        more = sum(map(self._counter.cold, requests))
        if any(request.purpose != FINALISTS for request in requests):
            more += self._end
        pace = seconds / max(tokens, 1)
        if self._budget.max_tokens is not None and tokens + more > self._budget.max_tokens:
            self.stopped_by, self.needed = "tokens", Budget(max_tokens=tokens + more + self._end)
        elif self._budget.max_minutes is not None and seconds + more * pace > 60 * self._budget.max_minutes:
            self.stopped_by = "minutes"
            self.needed = Budget(max_minutes=(seconds + (more + self._end) * pace) / 60)
        else:
            return False
        return True
