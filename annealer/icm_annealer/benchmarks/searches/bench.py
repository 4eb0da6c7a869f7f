"""All searches on all tasks, sizes and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.runner import Part, RowJob, run_jobs
from icm_annealer.benchmarks.saved_rows import SavedRows
from icm_annealer.benchmarks.search_presets import REFERENCE
from icm_annealer.benchmarks.searches.chain import CHAIN, SURROGATES, ChainRow, ChainRows
from icm_annealer.benchmarks.searches.plan import BenchPlan, search_named
from icm_annealer.benchmarks.searches.rows import SearchRow, SearchRows
from icm_annealer.console.progress import RunProgress
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError

SEARCHES = "searches"
"""The part of `bench.json` that holds the searches' rows; CHAIN is the other one written here."""


class BenchFound(NamedTuple):
    """All rows of a bench, and the model that answered."""

    searches: list[SearchRow]
    chain: list[ChainRow]
    model: dict[str, str]


async def run_bench(
    out: Path, scorer: Scorer, tasks: Sequence[TaskData], plan: BenchPlan, progress: RunProgress, *, resume: bool
) -> BenchFound:
    """Runs all jobs and returns their rows; with `resume`, rows saved in `out` are reused.

    Rows of other jobs in `out` are kept. An interrupted search leaves no row.
    """
    names = [data.task.name for data in tasks]
    if len(set(names)) < len(names):
        raise RequestError(f"two of the tasks have the same name ({', '.join(names)}): their rows would be one")
    model = await scorer.model()

    def case(data: TaskData, num: int, seed: int) -> Case:
        return Case(data, num, plan.num_test, seed, model, scorer, "search-bench", plan.weighing)

    for data in tasks:  # refuse insufficient data before any measurement
        case(data, max(plan.sizes), plan.first_seed)
    searches = Part(SearchRows(plan), SavedRows(out, SEARCHES, SearchRow))
    chain = Part(ChainRows(), SavedRows(out, CHAIN, ChainRow))
    await run_jobs(
        list(_jobs(tasks, plan)),
        {SEARCHES: searches, CHAIN: chain},
        (SEARCHES, REFERENCE.name),
        lambda job: case(job.data, job.num, job.seed),
        progress,
        resume=resume,
    )
    return BenchFound(searches.rows, chain.rows, model.identity.model_dump())


def _jobs(tasks: Sequence[TaskData], plan: BenchPlan) -> Iterator[RowJob]:
    """The jobs seed by seed, so that an interrupted bench covers all searches."""
    for seed in plan.seeds:
        for data in tasks:
            for num in plan.sizes:
                for name in plan.searches:
                    yield RowJob(SEARCHES, data, num, seed, name, _weight(name, num, plan))
                if plan.checks_chain and seed == plan.first_seed:
                    yield RowJob(CHAIN, data, num, seed, CHAIN, SURROGATES.expected_shots(num))


def _weight(name: str, num: int, plan: BenchPlan) -> float:
    search = search_named(name)
    searching = plan.settings(search, num, 0).expected_shots(num) if search else 0.0
    return plan.weighing.expected_shots(num) + 2 * (num + 2 * plan.num_test) + searching
