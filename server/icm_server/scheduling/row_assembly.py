"""Assembles each prompt's row from its reads. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from icm_client.contract.label_trie import TrieRead
from icm_server.scheduling.planned_read import PlannedRead
from icm_server.scheduling.request_plan import RequestPlan


class PromptRow(NamedTuple):
    """The labels' log-probabilities after all identical prompts of a request."""

    prompts: list[int]
    logprobs: list[float]


class RowAssembly:
    """Collects a plan's reads, in any order."""

    def __init__(self, plan: RequestPlan):
        self._plan = plan
        self._copies: dict[int, list[int]] = defaultdict(list)
        for number, first in enumerate(plan.first_of):
            if number != first:
                self._copies[first].append(number)
        self._found: dict[int, dict[TrieRead, Sequence[float]]] = {}
        self._computed: set[int] = set()
        """Prompts for which the engine made a read on behalf of this request."""
        self.num_left = len(plan.first_of)
        """Prompts without a row."""
        self.num_from_cache = 0
        """Prompts whose rows needed no read of this request's own."""

    def add(self, read: PlannedRead, logprobs: Sequence[float], *, computed: bool) -> PromptRow | None:
        """The row, if this was its last read. `computed`: the engine made the read for this request."""
        if computed:
            self._computed.add(read.prompt)
        trie = self._plan.prompts[read.prompt].trie
        found = self._found.setdefault(read.prompt, {})
        found[read.read] = logprobs
        if len(found) < len(trie.reads):
            return None
        row = PromptRow([read.prompt, *self._copies.get(read.prompt, ())], trie.logprobs(self._found.pop(read.prompt)))
        self.num_left -= len(row.prompts)
        self.num_from_cache += len(row.prompts) - (read.prompt in self._computed)
        return row
