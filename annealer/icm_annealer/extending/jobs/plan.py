"""What work larger than one run costs: tokens, and with a speed also hours of GPUs and money."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import LEAST_CORE_READS, by_contexts
from icm_annealer.extending.jobs.batches import BATCH_ROWS
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.survey import survey
from icm_annealer.scoring.measured_rate import measured_rate
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import Rehearsal
from icm_client.text.counts import counted

MEASURING_S = 10.0
OTHER_SEED = 1_000_003
HALF = 0.5


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
    """That the engine computes, about."""
    savings: tuple[Saving, ...]
    """Cheaper settings, the cheapest last."""

    def gpu_hours(self, tokens_per_s: float) -> float:
        """`tokens_per_s` is that of one GPU."""
        return self.tokens / tokens_per_s / 3600


@dataclass(frozen=True)
class LargePlan:
    """The cost of all ways, and the speed of one GPU."""

    ways: tuple[PlannedWork, ...]
    tokens_per_s: float
    """NaN if it could not be measured."""


async def planned(
    core: Core,
    source: Source,
    settings: ExtendSettings,
    scorer: Scorer,
    *,
    num_checked: int = 0,
    num_runs: int = 0,
    tokens_per_s: float | None = None,
    report: Callable[[str], None] = lambda text: None,
    clock: Callable[[], float] = time.monotonic,
) -> LargePlan:
    """The cost of extending `core` to the rows of `source`, of independent searches over them in batches, and of
    `num_runs` further runs like the core's (0 for none). Searches are taken to cost what the core's did, for each
    example.

    The data are read once, and a sample of them is rehearsed: the tokens of every row are those of the sample's mean.
    The speed is measured with the sample's requests, unless it is given. Raises the errors of `survey` and of the
    scorer.
    """
    # Contexts of another seed cost as much, and what is measured with them is in no cache for the extension.
    others = replace(settings, seed=settings.seed + OTHER_SEED)
    rehearsal = Rehearsal(scorer)
    by = await by_contexts(rehearsal, core, others, "default")
    assert by.contexts is not None
    found = await survey(source, rehearsal, by.contexts.most_row_tokens, settings, report)
    texts = [row.text for row in found.sample]
    contexts = list(range(by.scorer.num_contexts))
    whole = (await by.scorer.score(texts, contexts)).usage.computed_tokens
    # A single row behind the same contexts costs the contexts and one read each.
    fresh = Rehearsal(scorer)
    again = await by_contexts(fresh, core, others, "default")
    shown = (await again.scorer.score(texts[:1], contexts)).usage.computed_tokens
    a_read = max(whole - shown, 0) / max(len(contexts) * (len(texts) - 1), 1)
    shots = max(shown - len(contexts) * a_read, 0.0)
    num_core = min(len(core.examples) - settings.shots, max(len(texts) // 2, LEAST_CORE_READS))

    def extension(reads: float, num_contexts: int) -> float:
        calibration = num_contexts * (len(texts) + max(num_core, 0)) * a_read
        # The sample's rows are answered from the scorer's cache of reads when their turn comes.
        rows = (found.num_rows - len(texts)) * reads * a_read
        return num_contexts / len(contexts) * shots + calibration + rows + num_checked * an_example

    an_example = core.num_tokens / len(core.examples)
    reads = 1 + settings.share_read_again * (settings.contexts - 1)
    tokens = extension(reads, settings.contexts)
    savings = []
    if settings.contexts > 1:
        savings = [
            Saving("--reads 1", extension(1, settings.contexts) / tokens),
            Saving("--contexts 1", extension(1, 1) / tokens),
        ]
    ways = [
        PlannedWork(
            "extend",
            f"{reads:.2f} reads a row behind {settings.contexts} contexts of the core's shots",
            found.num_rows,
            round(tokens),
            tuple(savings),
        )
    ]
    batches, num_searches = found.num_rows * an_example, math.ceil(found.num_rows / BATCH_ROWS)
    ways.append(
        PlannedWork(
            "batches",
            f"{counted(num_searches, 'search', 'searches')} of {BATCH_ROWS} rows each, like the core's",
            found.num_rows,
            round(batches),
            (Saving("icm extend", tokens / batches),) if batches else (),
        )
    )
    if num_runs:
        one = core.num_tokens
        ways.append(
            PlannedWork(
                "runs",
                f"{num_runs:,} runs like the core's",
                num_runs * len(core.examples),
                num_runs * one,
                (Saving("half as many examples a run", 0.5),),
            )
        )
    if tokens_per_s is None:
        report("measuring the scorer's speed")
        rate = await measured_rate(scorer, rehearsal.requests, MEASURING_S, clock)
        tokens_per_s = rate.tokens_per_s
    return LargePlan(tuple(ways), tokens_per_s)
