"""A sweep of 32 runs on one scorer: its throughput beside the same runs one after the other, and whether their journals
and labels are the same. On the fake engine at a given speed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.programs import scorer

from icm_annealer.console.sweep_progress import SweepProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.runs.directory import JOURNAL, LABELS
from icm_annealer.sweeping.held import held_runs
from icm_annealer.sweeping.plan import ScorerDefaults, make_plan
from icm_annealer.sweeping.spec import SweepSpec
from icm_annealer.sweeping.sweep import SweepLimits, run_sweep
from icm_annealer.sweeping.table import sweep_table

SPEC = {
    "tasks": {"living": {"first": 24}, "names": {"first": 24}},
    "settings": {"few": {"search": "blocks", "chains": 2, "passes": 4}, "more": {"search": "blocks", "chains": 4}},
    "seeds": 8,
}


class _Made(NamedTuple):
    tokens_per_s: float
    content: list[bytes]
    """Journal and labels of each run."""


async def sweep(console: Console, repetitions: int, tokens_per_s: int) -> list[Figure]:
    """Each repetition makes both on new scorers, which have nothing in their caches."""
    ratios = []
    for _ in range(repetitions):
        single, together = await _made(1, tokens_per_s), await _made(SweepLimits().max_parallel, tokens_per_s)
        assert single.content == together.content
        console.print(f"{single.tokens_per_s:,.0f} and {together.tokens_per_s:,.0f} tokens a second")
        ratios.append(together.tokens_per_s / single.tokens_per_s)
    what = f"throughput of a sweep of {len(single.content)} runs / of the same runs one after the other"
    return [Figure("sweep", what, ratios, at_least=0.95)]


async def _made(max_parallel: int, tokens_per_s: int) -> _Made:
    with tempfile.TemporaryDirectory() as place:
        async with scorer("fake", "--engine-arg", f"tokens_per_s={tokens_per_s}", engine="fake") as server:
            plan = make_plan(SweepSpec.model_validate(SPEC), Path(), Path(place), ScorerDefaults(server.url))
            start = time.perf_counter()
            progress = SweepProgress(Terminal(quiet=True), "")
            swept = await run_sweep(plan, held_runs(plan), SweepLimits(max_parallel), progress)
            seconds = time.perf_counter() - start
        runs = [run for group in sweep_table(plan, swept.outcomes).groups for run in group.runs]
        assert all(run.ended == "done" for run in runs)
        folders = [run.job.folder for run in plan.runs]
        content = [(folder / JOURNAL).read_bytes() + (folder / LABELS).read_bytes() for folder in folders]
        return _Made(sum(run.tokens for run in runs) / seconds, content)
