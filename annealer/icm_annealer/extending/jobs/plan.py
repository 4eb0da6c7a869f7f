"""What work larger than one run costs: tokens, and with a speed also hours of GPUs and money."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.jobs.costs import Planning, Tokens, cost_of, cost_of_check, cost_of_tuned
from icm_annealer.extending.jobs.job import rows_to_check
from icm_annealer.extending.jobs.modes import MODES
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.survey import survey
from icm_annealer.scoring.forecast import TokenRange
from icm_annealer.scoring.measured_rate import MeasuredRate, measured_rate
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import Rehearsal
from icm_client.contract.wire import ScoreRequest

MEASURING_S = 10.0
OTHER_SEED = 1_000_003
HALF = 0.5
USUAL = "shots"
"""The first mode: others are compared with it, and the speed is measured by it."""


@dataclass(frozen=True)
class Saving:
    """A cheaper setting, and the share of the tokens that it leaves."""

    setting: str
    share: float

    @property
    def halves(self) -> bool:
        return self.share <= HALF


@dataclass(frozen=True)
class PlannedWork:
    """One way to do the work."""

    name: str
    what: str
    num_rows: int
    tokens: int
    """That the engine computes, as usual."""
    least_tokens: int
    """This and the next differ from `tokens` as far as the model's answers decide."""
    most_tokens: int
    savings: tuple[Saving, ...] = ()
    """Cheaper settings, the cheapest last."""

    @classmethod
    def of(
        cls, name: str, what: str, num_rows: int, tokens: TokenRange, savings: tuple[Saving, ...] = ()
    ) -> PlannedWork:
        return cls(name, what, num_rows, round(tokens.usual), round(tokens.least), round(tokens.most), savings)

    def gpu_hours(self, tokens_per_s: float) -> float:
        """`tokens_per_s` is that of one GPU."""
        return self.tokens / tokens_per_s / 3600


@dataclass(frozen=True)
class LargePlan:
    """The cost of all ways, and the speed of one GPU."""

    ways: tuple[PlannedWork, ...]
    tokens_per_s: float
    """NaN if it could not be measured."""
    measured: MeasuredRate | None
    """None if the speed was given."""


async def planned(
    core: Core,
    source: Source,
    settings: ExtendSettings,
    scorer: Scorer,
    *,
    num_checked: int | None = None,
    num_runs: int = 0,
    tokens_per_s: float | None = None,
    report: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> LargePlan:
    """The cost of extending `core` to the rows of `source` in each mode and by a tuned model, with a check of
    `num_checked` rows (see `rows_to_check`), and of `num_runs` further runs like the core's (0 for none).

    The data are read once. Calibration and a batch are rehearsed, and rows cost what those of a sample do. The speed is
    measured with the sample's requests, unless it is given. Raises the errors of `survey` and of the scorer.
    """
    # Contexts of another seed cost as much, and what is measured with them is in no cache for the extension.
    settings = replace(settings, seed=settings.seed + OTHER_SEED)
    by = await MODES[USUAL].open(Rehearsal(scorer), core, settings, "default")
    # Rows besides the sample are rehearsed as those behind the calibration.
    found = await survey(source, scorer, by.most_row_tokens, settings, report, num_drawn=2 * settings.sample)
    work = Planning(core, source, settings, scorer, found)
    num = rows_to_check(num_checked, found.num_rows)
    check = await cost_of_check(work, num) if num else TokenRange.exactly(0.0)
    ways, requests = list[PlannedWork](), list[ScoreRequest]()
    for name, mode in MODES.items():
        report(f"rehearsing --mode {name}")
        own = work.with_contexts(max(settings.contexts, mode.least_contexts))
        cost = await cost_of(own, mode.open)
        requests = requests or list(cost.requests)
        tokens = cost.number + check
        if name == USUAL:
            savings = await _fewer_reads(own, cost, check)
        else:
            savings = [Saving(f"--mode {USUAL}", ways[0].tokens / tokens.usual)]
        what, shown = mode.describe(own.settings, found.num_rows), tuple(one for one in savings if one.share < 1)
        ways.append(PlannedWork.of(name, what, found.num_rows, tokens, shown))
    tuned = "by a model tuned on the core's labels (icm train sft), which no scorer serves; training not counted"
    ways.append(PlannedWork.of("by tuned", tuned, found.num_rows, TokenRange.exactly(await cost_of_tuned(work))))
    if num_runs:
        half = Saving("half as many examples a run", HALF)
        rows, tokens = num_runs * len(core.examples), TokenRange.exactly(num_runs * core.num_tokens)
        ways.append(PlannedWork.of("runs", f"{num_runs:,} runs like the core's", rows, tokens, (half,)))
    if tokens_per_s is not None:
        return LargePlan(tuple(ways), tokens_per_s, None)
    report("measuring the scorer's speed")
    rate = await measured_rate(scorer, requests, MEASURING_S, clock)
    return LargePlan(tuple(ways), rate.tokens_per_s, rate)


async def _fewer_reads(work: Planning, cost: Tokens, check: TokenRange) -> list[Saving]:
    """The cheaper settings of rows that are read behind several contexts."""
    if work.settings.contexts == 1:
        return []
    whole = cost.number.usual + check.usual
    alone = await cost_of(work.with_contexts(1), MODES[USUAL].open)
    return [
        Saving("--reads 1", (cost.once + check.usual) / whole),
        Saving("--contexts 1", (alone.number.usual + check.usual) / whole),
    ]
