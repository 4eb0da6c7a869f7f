"""All searches on all tasks, sizes and seeds: a row each, saved as soon as it is there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.figures import machine, read_figures, save_figures
from icm_annealer.passes import Scorer
from icm_annealer.progress import RunProgress
from icm_annealer.search_bench.case import CHAIN, BenchTask, Case, Steps
from icm_annealer.search_bench.chain import SURROGATES
from icm_annealer.search_bench.contestants import OURS, expected_shots
from icm_annealer.search_bench.plan import BenchPlan
from icm_client.errors import RequestError

SEARCHES = "searches"
"""The part of `bench.json` that holds the searches' rows; CHAIN is the other one written here."""


class Job(NamedTuple):
    """One row to come. `search` is CHAIN for the comparison of measures."""

    task: BenchTask
    num: int
    seed: int
    search: str

    @property
    def key(self) -> tuple[str, int, int, str]:
        return self.task.task.name, self.num, self.seed, self.search

    def __str__(self) -> str:
        return f"{self.task.task.name}, {self.num} examples, seed {self.seed}: {self.search}"


def key_of(row: dict[str, Any]) -> tuple[str, int, int, str]:
    """What no two rows have in common."""
    return row["task"], row["n"], row["seed"], row.get("search", CHAIN)


async def run_contest(
    out: Path, scorer: Scorer, tasks: Sequence[BenchTask], plan: BenchPlan, progress: RunProgress, *, resume: bool
) -> dict[str, list[dict[str, Any]]]:
    """Runs all jobs, or with `resume` those that `out` has no such row of, and returns the rows of all by part.

    Rows in `out` of other jobs stay there. A search that is stopped half-way leaves no row.
    """
    names = [task.task.name for task in tasks]
    if len(set(names)) < len(names):
        raise RequestError(f"two of the tasks have the same name ({', '.join(names)}): their rows would be one")
    model = await scorer.model()
    kept = {part: {key_of(row): row for row in read_figures(out).get(part, [])} for part in (SEARCHES, CHAIN)}
    jobs = list(_jobs(tasks, plan))
    weights = [_weight(job, plan) for job in jobs]
    progress.expect(len(jobs))
    mine: dict[str, list[dict[str, Any]]] = {SEARCHES: [], CHAIN: []}
    case: Case | None = None
    num_skipped = 0.0
    for job, weight in zip(jobs, weights, strict=True):
        if case is None or case.key != job.key[:3]:
            case = Case(job.task, job.num, job.seed, plan, model, scorer)
        part = CHAIN if job.search == CHAIN else SEARCHES
        ours = kept[SEARCHES].get((*job.key[:3], OURS)) if OURS in plan.searches else None
        of = case.described(job.search, ours)
        row = kept[part].get(job.key)
        if resume and row is not None and row["of"] == of:
            num_skipped += weight
            progress.expect((sum(weights) - num_skipped) * len(jobs) / sum(weights))
        else:
            progress.status(str(job))
            step = Steps(progress, weight * len(jobs) / sum(weights))
            row = await case.run(job.search, ours, step)
            row = {**row, "of": of, "machine": machine()}
            step.done()
            kept[part][job.key] = row
            save_figures(out, **{part: list(kept[part].values())})
        mine[part].append(row)
    return mine


def _jobs(tasks: Sequence[BenchTask], plan: BenchPlan) -> Iterator[Job]:
    """Seed by seed, so that a bench that is stopped has something of everything."""
    for seed in plan.seeds:
        for task in tasks:
            for num in plan.sizes:
                yield from (Job(task, num, seed, search) for search in plan.searches)
                if plan.checks_chain and seed == plan.first_seed and OURS in plan.searches:
                    yield Job(task, num, seed, CHAIN)


def _weight(job: Job, plan: BenchPlan) -> float:
    num = job.num
    if job.search == CHAIN:
        return SURROGATES.expected_shots(num)
    weighing = plan.num_orders * num * math.log2(max(num, 2))
    return weighing + 2 * (num + 2 * plan.num_test) + expected_shots(job.search, num, plan.iterations(num)[0])
