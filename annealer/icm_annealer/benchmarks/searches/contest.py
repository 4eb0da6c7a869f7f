"""All searches on all tasks, sizes and seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.runner import Job, SavedRows, run_jobs
from icm_annealer.benchmarks.search_presets import expected_shots
from icm_annealer.benchmarks.searches.chain import SURROGATES
from icm_annealer.benchmarks.searches.plan import CHAIN, GOLD, BenchPlan
from icm_annealer.benchmarks.searches.rows import BenchRows
from icm_annealer.console.progress import RunProgress
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError

SEARCHES = "searches"
"""The part of `bench.json` that holds the searches' rows; CHAIN is the other one written here."""


class Found(NamedTuple):
    """All rows of a contest, and who answered."""

    searches: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    model: dict[str, Any]


async def run_contest(
    out: Path, scorer: Scorer, tasks: Sequence[TaskData], plan: BenchPlan, progress: RunProgress, *, resume: bool
) -> Found:
    """Runs all jobs, or with `resume` those that `out` has no such row of, and returns the rows of all.

    Rows in `out` of other jobs stay there. A search that is stopped half-way leaves no row.
    """
    names = [data.task.name for data in tasks]
    if len(set(names)) < len(names):
        raise RequestError(f"two of the tasks have the same name ({', '.join(names)}): their rows would be one")
    model = await scorer.model()

    def case(data: TaskData, num: int, seed: int) -> Case:
        return Case(data, num, plan.num_test, seed, model, scorer, "search-bench")

    for data in tasks:  # data that do not reach are told before anything is measured
        case(data, max(plan.sizes), plan.first_seed)
    jobs = list(_jobs(tasks, plan))
    rows = await run_jobs(
        jobs,
        BenchRows(plan),
        lambda job: case(job.data, job.num, job.seed),
        SavedRows(out, (SEARCHES, CHAIN), "search"),
        progress,
        resume=resume,
    )
    by_part: dict[str, list[dict[str, Any]]] = {SEARCHES: [], CHAIN: []}
    for job, row in zip(jobs, rows, strict=True):
        by_part[job.part].append(row)
    return Found(by_part[SEARCHES], by_part[CHAIN], model.model_dump(include={"name", "dtype", "engine"}))


def _jobs(tasks: Sequence[TaskData], plan: BenchPlan) -> Iterator[Job]:
    """Seed by seed, so that a bench that is stopped has something of everything."""
    for seed in plan.seeds:
        for data in tasks:
            for num in plan.sizes:
                for name in plan.searches:
                    yield Job(SEARCHES, data, num, seed, name, _weight(name, num, plan))
                if plan.checks_chain and seed == plan.first_seed:
                    yield Job(CHAIN, data, num, seed, CHAIN, SURROGATES.expected_shots(num))


def _weight(search: str, num: int, plan: BenchPlan) -> float:
    weighing = plan.num_orders * num * math.log2(max(num, 2))
    searching = expected_shots(search, num, plan.iterations(num)[0]) if search != GOLD else 0.0
    return weighing + 2 * (num + 2 * plan.num_test) + searching
