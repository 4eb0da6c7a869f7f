"""What an engine answers when it is asked the same again: the part of every figure that is the engine's own noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import normalized
from icm_annealer.labelling.driver import Run
from icm_annealer.runs.directory import REPEAT, RunDir
from icm_annealer.runs.schema import read_object
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Usage, is_logprob

MAX_REPEATED = 16
"""Queries of a run's last pass that are asked again at its end."""


class _Known(BaseModel):
    """What `repeat.json` holds."""

    model_config = ConfigDict(strict=True)

    first: list[list[float]]
    then: list[list[float]]


@dataclass(frozen=True)
class Repeat:
    """Log-probabilities [query, label], raw, of the same reads at two times."""

    first: Array
    then: Array
    usage: Usage = field(default_factory=Usage)
    """What asking again has cost this process."""
    seconds: float = 0.0

    @property
    def spread(self) -> float:
        """The root of the mean squared difference of a log-probability renormalised over the labels, in nats."""
        return float(np.sqrt(np.mean((normalized(self.first) - normalized(self.then)) ** 2)))

    @property
    def num_changed(self) -> int:
        """Queries that prefer another label the second time."""
        return int((self.first.argmax(axis=1) != self.then.argmax(axis=1)).sum())


def repeated_of(queries: Ints) -> Ints:
    """Those that are asked again, from all over the pass."""
    places = np.linspace(0, len(queries) - 1, min(MAX_REPEATED, len(queries))).astype(np.int64)
    chosen: Ints = queries[np.unique(places)]
    return chosen


async def repeat(run: Run, folder: RunDir) -> Repeat | None:
    """Some of the run's last pass, asked again, or what `repeat.json` says of it if that was done before.

    None if that pass was answered from the scorer's memory: a run that was made before asks nothing of the engine.
    It is no part of the journal: that holds only what labels depend on. Raises what `PassScorer.again` does.
    """
    request, answer = run.last
    queries = repeated_of(request.queries)
    first = answer.logprobs[np.isin(request.queries, queries)]
    then_known = _known(folder / REPEAT, first)
    if then_known is not None:
        return Repeat(first, then_known)
    if answer.usage.read_cache_prompts == len(request.queries):
        return None
    then = await run.passes.again(request, queries)
    folder.write_json(REPEAT, {"first": first.tolist(), "then": then.logprobs.tolist()})
    return Repeat(first, then.logprobs, then.usage, then.seconds)


def _known(path: Path, first: Array) -> Array | None:
    """What the file says that was answered the second time; None if it is of another pass, or no such file."""
    try:
        known = _Known.model_validate(read_object(path))
    except (RequestError, pydantic.ValidationError):
        return None  # it can be asked again
    is_same = known.first == first.tolist() and [len(row) for row in known.then] == [first.shape[1]] * len(first)
    return np.array(known.then) if is_same and all(is_logprob(p) for row in known.then for p in row) else None
