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


class Found(NamedTuple):
    """All rows of a contest, and who answered."""

    searches: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    model: dict[str, Any]


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


async def run_contest(
    out: Path, scorer: Scorer, tasks: Sequence[BenchTask], plan: BenchPlan, progress: RunProgress, *, resume: bool
) -> Found:
    """Runs all jobs, or with `resume` those that `out` has no such row of, and returns the rows of all.

    Rows in `out` of other jobs stay there. A search that is stopped half-way leaves no row.
    """
    names = [task.task.name for task in tasks]
    if len(set(names)) < len(names):
        raise RequestError(f"two of the tasks have the same name ({', '.join(names)}): their rows would be one")
    model = await scorer.model()
    for task in tasks:  # data that do not reach are told before anything is measured
        Case(task, max(plan.sizes), plan.first_seed, plan, model, scorer)
    saved = _Saved(out)
    jobs = list(_jobs(tasks, plan))
    steps_per_shot = len(jobs) / sum(_weight(job, plan) for job in jobs)
    num_steps, found = float(len(jobs)), Found([], [], model.model_dump(include={"name", "dtype", "engine"}))
    progress.expect(num_steps)
    case: Case | None = None
    for job in jobs:
        num_mine = steps_per_shot * _weight(job, plan)
        if case is None or case.key != job.key[:3]:
            case = Case(job.task, job.num, job.seed, plan, model, scorer)
        ours = saved.row(job._replace(search=OURS)) if OURS in plan.searches else None
        of = case.described(job.search, ours)
        row = saved.row(job) if resume else None
        if row is not None and row["of"] == of:
            num_steps -= num_mine
            progress.expect(num_steps)
        else:
            progress.status(str(job))
            steps = Steps(progress, num_mine)
            row = {**await case.run(job.search, ours, steps), "of": of, "machine": machine()}
            saved.put(job, row)
            steps.reach(1.0)
        (found.checks if job.search == CHAIN else found.searches).append(row)
    return found


class _Saved:
    """The rows in `bench.json`, by what no two of a part have in common."""

    def __init__(self, out: Path):
        self._out = out
        figures = read_figures(out)
        try:
            self._rows = {part: {_key(row): row for row in figures.get(part, [])} for part in (SEARCHES, CHAIN)}
        except (KeyError, TypeError):
            raise RequestError(f"{out} holds rows of another version; move it away, or give another --out") from None

    def row(self, job: Job) -> dict[str, Any] | None:
        return self._rows[_part(job)].get(job.key)

    def put(self, job: Job, row: dict[str, Any]) -> None:
        """Takes the row in and writes the file."""
        part = _part(job)
        self._rows[part][job.key] = row
        save_figures(self._out, **{part: list(self._rows[part].values())})


def _key(row: dict[str, Any]) -> tuple[str, int, int, str]:
    return row["task"], row["n"], row["seed"], row.get("search", CHAIN)


def _part(job: Job) -> str:
    return CHAIN if job.search == CHAIN else SEARCHES


def _jobs(tasks: Sequence[BenchTask], plan: BenchPlan) -> Iterator[Job]:
    """Seed by seed, so that a bench that is stopped has something of everything."""
    for seed in plan.seeds:
        for task in tasks:
            for num in plan.sizes:
                yield from (Job(task, num, seed, search) for search in plan.searches)
                if plan.checks_chain and seed == plan.first_seed:
                    yield Job(task, num, seed, CHAIN)


def _weight(job: Job, plan: BenchPlan) -> float:
    num = job.num
    if job.search == CHAIN:
        return SURROGATES.expected_shots(num)
    weighing = plan.num_orders * num * math.log2(max(num, 2))
    return weighing + 2 * (num + 2 * plan.num_test) + expected_shots(job.search, num, plan.iterations(num)[0])
