"""What the work of a command will cost on one scorer: tokens from rehearsals, seconds from a short measurement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from icm_annealer.scoring.context_fit import ContextFit
from icm_annealer.scoring.measured_rate import measured_rate
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import CLEAR, FOUND, NOTHING, UNEVEN, Rehearsal, Scenario

MEASURING_S = 10.0
"""The time that the measurement takes, about."""
SCENARIOS = (FOUND, CLEAR, NOTHING, CLEAR, CLEAR, FOUND, UNEVEN, FOUND, NOTHING, FOUND)
"""What is supposed of the answers, one rehearsal after the other; the usual cost is the mean of those of FOUND."""
NUM_NEEDED = 3
"""So many rehearsals are made of any work that depends on the answers; the others if these were quick."""
REHEARSING_S = 60.0
"""The most time of a rehearsal; the rest of the work is extrapolated."""
FURTHER_S = 15.0
"""Within this time after the first one began, another rehearsal begins."""
EXACT = 0.05
"""The share by which the tokens of the same passes may differ between a rehearsal and the work itself."""


class Rehearsed(NamedTuple):
    """What a rehearsal reached."""

    share: float = 1.0
    """Of the work."""
    num_dropped: int = 0
    """Shots that did not fit the model's window, in the pass that dropped the most."""
    cut: ContextFit | None = None
    """How much of the data contexts hold, if they are cut."""
    stages: Mapping[str, int] = MappingProxyType({})
    """Computed tokens of stages that depend on the answers each for itself, by name; others belong to no stage."""


Work = Callable[[Rehearsal], Awaitable[Rehearsed]]
"""Does all of the work with a rehearsal as its scorer."""


@dataclass(frozen=True)
class Forecast:
    """The cost of some work, with an empty prefix cache that never evicts."""

    num_requests: int
    prompt_tokens: int
    """Tokens of all prompts, as if each were sent alone."""
    computed_tokens: int
    """As usual on a task that the model knows."""
    least_tokens: int
    """Computed tokens if each stage is as short as in the shortest rehearsal; the same if the work does not depend on
    the answers."""
    most_tokens: int
    """If each is as long as in the longest."""
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
    def depends_on_answers(self) -> bool:
        return self.most_tokens > self.least_tokens

    @property
    def window_share(self) -> float:
        """The share of the window that the longest prompt takes."""
        return self.longest_prompt / self.max_prompt_tokens


@dataclass(frozen=True)
class TokenRange:
    """Computed tokens."""

    usual: float
    """As usual on a task that the model knows."""
    least: float
    most: float

    @classmethod
    def exactly(cls, num: float) -> TokenRange:
        """Of what depends on no answer."""
        return cls(num, num, num)

    def __add__(self, other: TokenRange) -> TokenRange:
        return TokenRange(self.usual + other.usual, self.least + other.least, self.most + other.most)

    def times(self, num: float) -> TokenRange:
        return TokenRange(num * self.usual, num * self.least, num * self.most)


class Done(NamedTuple):
    """One rehearsal, ended."""

    scenario: Scenario
    rehearsal: Rehearsal
    reached: Rehearsed

    @property
    def computed_tokens(self) -> float:
        return self.rehearsal.usage.computed_tokens / self.reached.share

    def tokens_of(self, stage: str) -> float:
        """Those of the whole work; of no stage for an empty name."""
        stages = self.reached.stages
        num = stages.get(stage, 0) if stage else self.rehearsal.usage.computed_tokens - sum(stages.values())
        return num / self.reached.share


@dataclass(frozen=True)
class Rehearsals:
    """All rehearsals of some work, the first of which is a usual one."""

    done: Sequence[Done]

    @property
    def usual(self) -> list[Done]:
        return [done for done in self.done if done.scenario is FOUND]

    @property
    def tokens(self) -> TokenRange:
        """The least and the most are from the shortest and the longest rehearsal of each stage: one scenario may have a
        stage that another leaves out, and the work may have both."""
        usual = statistics.fmean(done.computed_tokens for done in self.usual)
        if len(self.done) == 1:
            return TokenRange.exactly(usual)
        stages = {stage for done in self.done for stage in done.reached.stages} | {""}
        nums = [[done.tokens_of(stage) for done in self.done] for stage in stages]
        return TokenRange(usual, (1 - EXACT) * sum(map(min, nums)), (1 + EXACT) * sum(map(max, nums)))


async def rehearsals(
    scorer: Scorer,
    work: Work,
    *,
    varies: bool = True,
    further_s: float = FURTHER_S,
    clock: Callable[[], float] = time.monotonic,
) -> Rehearsals:
    """Rehearses `work`: once if it does not depend on the answers, which `varies` says, or by NUM_NEEDED scenarios, and
    by further ones for `further_s` seconds. Raises the errors of the scorer and of the work."""
    start, all_done = clock(), list[Done]()
    for number, scenario in enumerate(SCENARIOS if varies else SCENARIOS[:1]):
        if number < NUM_NEEDED or clock() - start < further_s:
            rehearsal = Rehearsal(scorer, scenario, number=1 + number, limit_s=REHEARSING_S, clock=clock)
            all_done.append(Done(scenario, rehearsal, await work(rehearsal)))
    return Rehearsals(all_done)


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
    found = await rehearsals(scorer, work, varies=varies, clock=clock)
    first, model, tokens = found.done[0], await scorer.model(), found.tokens.times(num_times)
    measuring_since = clock()
    rate = await measured_rate(scorer, first.rehearsal.requests, measuring_s, clock)

    def mean(numbers: Iterable[float]) -> int:
        return round(num_times * statistics.fmean(numbers))

    return Forecast(
        mean(done.rehearsal.num_requests / done.reached.share for done in found.usual),
        mean(done.rehearsal.usage.prompt_tokens / done.reached.share for done in found.usual),
        round(tokens.usual),
        round(tokens.least),
        round(tokens.most),
        first.rehearsal.longest_prompt,
        model.max_prompt_tokens,
        first.reached.num_dropped,
        rate.tokens_per_s,
        clock() - measuring_since,
        first.reached.share,
        first.reached.cut,
    )
