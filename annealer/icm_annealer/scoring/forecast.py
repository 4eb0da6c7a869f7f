"""What the work of a command will cost on one scorer: tokens from rehearsals, seconds from a short measurement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from icm_annealer.scoring.context_fit import ContextFit
from icm_annealer.scoring.measured_rate import measured_rate
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import FOUND, NOTHING, Leaning, Rehearsal

MEASURING_S = 10.0
"""The time that the measurement takes, about."""
NUM_REHEARSALS = 5
"""How often work that depends on the answers is rehearsed, if it is short; the forecast is the mean."""
REHEARSING_S = 60.0
"""The most time of a rehearsal; the rest of the work is extrapolated."""


class Rehearsed(NamedTuple):
    """What a rehearsal reached."""

    share: float = 1.0
    """Of the work."""
    num_dropped: int = 0
    """Shots that did not fit the model's window, in the pass that dropped the most."""
    cut: ContextFit | None = None
    """How much of the data contexts hold, if they are cut."""


Work = Callable[[Rehearsal], Awaitable[Rehearsed]]
"""Does all of the work with a rehearsal as its scorer."""


@dataclass(frozen=True)
class Forecast:
    """The cost of some work, with an empty prefix cache that never evicts."""

    num_requests: int
    prompt_tokens: int
    """Tokens of all prompts, as if each were sent alone."""
    computed_tokens: int
    most_tokens: int
    """Computed tokens if no labels are coherent; the same if the work does not depend on the answers."""
    longest_prompt: int
    max_prompt_tokens: int
    """The model's window."""
    num_dropped: int
    """Shots that do not fit the window, in the pass that drops the most."""
    tokens_per_s: float
    """NaN if nothing was measured."""
    measured_s: float
    share: float
    """The share of the work that was rehearsed; the rest is extrapolated."""
    cut: ContextFit | None = None
    """How much of the data contexts hold, if they are cut."""

    @property
    def seconds(self) -> float:
        return self.computed_tokens / self.tokens_per_s

    @property
    def most_seconds(self) -> float:
        return self.most_tokens / self.tokens_per_s

    @property
    def window_share(self) -> float:
        """The share of the window that the longest prompt takes."""
        return self.longest_prompt / self.max_prompt_tokens


async def forecast(
    scorer: Scorer,
    work: Work,
    *,
    num_times: int = 1,
    varies: bool = True,
    measuring_s: float = MEASURING_S,
    clock: Callable[[], float] = time.monotonic,
) -> Forecast:
    """The cost of doing `work` `num_times` times; `varies` says whether it depends on the answers. Raises the errors of
    the scorer and of the work."""
    start = clock()
    all_done = [await _rehearsed(scorer, work, FOUND, 1, clock)]
    while varies and len(all_done) < NUM_REHEARSALS and (clock() - start) < REHEARSING_S / 4:
        all_done.append(await _rehearsed(scorer, work, FOUND, len(all_done) + 1, clock))
    most = await _rehearsed(scorer, work, NOTHING, 1, clock) if varies else all_done[0]
    first, model = all_done[0], await scorer.model()
    measuring_since = clock()
    rate = await measured_rate(scorer, first.rehearsal.requests, measuring_s, clock)

    def mean(numbers: Iterable[float]) -> int:
        return round(num_times * statistics.fmean(numbers))

    tokens = mean(done.computed_tokens for done in all_done)
    return Forecast(
        mean(done.rehearsal.num_requests / done.reached.share for done in all_done),
        mean(done.rehearsal.usage.prompt_tokens / done.reached.share for done in all_done),
        tokens,
        max(mean([most.computed_tokens]), tokens),
        first.rehearsal.longest_prompt,
        model.max_prompt_tokens,
        first.reached.num_dropped,
        rate.tokens_per_s,
        clock() - measuring_since,
        first.reached.share,
        first.reached.cut,
    )


class _Done(NamedTuple):
    rehearsal: Rehearsal
    reached: Rehearsed

    @property
    def computed_tokens(self) -> float:
        return self.rehearsal.usage.computed_tokens / self.reached.share


async def _rehearsed(scorer: Scorer, work: Work, leaning: Leaning, number: int, clock: Callable[[], float]) -> _Done:
    rehearsal = Rehearsal(scorer, leaning, number=number, limit_s=REHEARSING_S, clock=clock)
    return _Done(rehearsal, await work(rehearsal))
