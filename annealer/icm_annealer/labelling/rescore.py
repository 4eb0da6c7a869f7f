"""Scores a part of a run's last pass again at its end, to measure the engine's noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import normalized
from icm_annealer.labelling.search_run import Run
from icm_annealer.runs.directory import RESCORE, RunDir
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.state import RescoreState
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Usage, is_logprob

MAX_RESCORED = 16
"""Number of queries of the last pass that are scored again."""


@dataclass(frozen=True)
class Rescored:
    """Raw log-probabilities [query, label] of the same reads, scored twice."""

    first: Array
    again: Array
    usage: Usage = field(default_factory=Usage)
    """The cost of scoring again in this process."""
    seconds: float = 0.0

    @property
    def spread(self) -> float:
        """The root mean square difference of log-probabilities renormalised over the labels, in nats."""
        return float(np.sqrt(np.mean((normalized(self.first) - normalized(self.again)) ** 2)))

    @property
    def num_changed(self) -> int:
        """Queries whose likeliest label differs the second time."""
        return int((self.first.argmax(axis=1) != self.again.argmax(axis=1)).sum())


def rescored_queries(queries: Ints) -> Ints:
    """The queries that are scored again, spread over the pass."""
    places = np.linspace(0, len(queries) - 1, min(MAX_RESCORED, len(queries))).astype(np.int64)
    chosen: Ints = queries[np.unique(places)]
    return chosen


async def rescore(run: Run, folder: RunDir) -> Rescored | None:
    """Scores a part of the run's last pass again, or reads from `rescore.json` what an earlier process found.

    None if the scorer answered that pass from its cache of answers: a repeated run must not use the engine. The journal
    does not hold the second scores, since labels do not depend on them. Raises the errors of `PassScorer.again`.
    """
    request, answer = run.last
    queries = rescored_queries(request.queries)
    first = answer.logprobs[np.isin(request.queries, queries)]
    known = _known(folder, first)
    if known is not None:
        return None if known.again is None else Rescored(first, known.again)
    if answer.usage.read_cache_prompts == len(request.queries):
        folder.write(RESCORE, RescoreState(first=first.tolist(), again=None))
        return None
    again = await run.passes.again(request, queries)
    folder.write(RESCORE, RescoreState(first=first.tolist(), again=again.logprobs.tolist()))
    return Rescored(first, again.logprobs, again.usage, again.seconds)


class _Known(NamedTuple):
    again: Array | None


def _known(folder: RunDir, first: Array) -> _Known | None:
    """The contents of the file; None if it is missing, damaged or of another pass, since it can be made again."""
    try:
        state = read_file(folder / RESCORE, RescoreState)
    except RequestError:
        return None
    if state is None or state.first != first.tolist():
        return None
    if state.again is None:
        return _Known(None)
    has_shape = [len(row) for row in state.again] == [first.shape[1]] * len(first)
    is_sound = has_shape and all(is_logprob(value) for row in state.again for value in row)
    return _Known(np.array(state.again)) if is_sound else None
