"""All methods on all seeds of one task: rows into `baselines.json` one by one, then what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.benchmarks.baselines.methods import ICM, METHODS
from icm_annealer.benchmarks.baselines.plan import BaselinesPlan
from icm_annealer.benchmarks.baselines.reference_labels import human_labels
from icm_annealer.benchmarks.baselines.rows import BaselineRows
from icm_annealer.benchmarks.baselines.standings import Standing, standings
from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.results_file import save_figures
from icm_annealer.benchmarks.runner import Job, SavedRows, run_jobs
from icm_annealer.benchmarks.search_presets import expected_shots
from icm_annealer.console.progress import RunProgress
from icm_annealer.evaluation.test_set import describe_intervals
from icm_annealer.scoring.passes import Scorer

ROWS, TABLE = "rows", "table"
"""The parts of `baselines.json`."""


class Compared(NamedTuple):
    """The result: what was compared, as JSON holds it, and the methods' standings."""

    table: dict[str, Any]
    standings: list[Standing]


async def compare(
    out: Path, scorer: Scorer, data: TaskData, plan: BaselinesPlan, progress: RunProgress, *, resume: bool
) -> Compared:
    """Runs all methods of `plan`, or with `resume` those that `out` has no such row of. Other methods that it has such
    rows of, one of every seed, are then compared with them."""
    model = await scorer.model()

    def case(seed: int) -> Case:
        return Case(data, plan.num_examples, plan.num_test, seed, model, scorer, "baselines")

    first = case(plan.first_seed)  # data that do not reach are told before anything is measured
    if plan.prefix:
        await first.open(plan.prefix)
    if plan.human is not None:
        human_labels(first.train, plan.human, data.task)
    jobs = list(_jobs(data, plan))
    saved = SavedRows(out, (ROWS,), "method")
    rows = await run_jobs(jobs, BaselineRows(plan), lambda job: case(job.seed), saved, progress, resume=resume)
    num_rows = Counter(row["method"] for row in rows)
    rows = [row for row in rows if num_rows[row["method"]] == plan.num_seeds]
    found = standings(rows)
    is_grouped = any(len(set(row["test_units"].split())) < len(row["test_units"].split()) for row in rows)
    table = {
        "task": data.task.name,
        "title": data.task.title,
        "num_examples": len(first.train),
        "num_test": len(first.test),
        "seeds": list(plan.seeds),
        "intervals": describe_intervals(plan.num_seeds, is_grouped=is_grouped),
        "model": model.model_dump(include={"name", "digest", "dtype", "engine"}),
        "methods": {standing.method.name: standing.to_dict() for standing in found},
    }
    save_figures(out, **{TABLE: table})
    return Compared(table, found)


def _jobs(data: TaskData, plan: BaselinesPlan) -> Iterator[Job]:
    """Seed by seed, ICM first: it sets the others' budgets."""
    num = plan.num_examples
    for seed in plan.seeds:
        for method in sorted(METHODS.values(), key=lambda method: method.name != ICM):
            searching = expected_shots(method.search, num, 2.5 * num) if method.search else 0.0
            weight = searching + 2.0 * (num + 2 * plan.num_test)
            yield Job(ROWS, data, num, seed, method.name, weight, plan.has(method.name))
