"""Runs all methods on all seeds of one task, saves each row in `baselines.json`, and summarises them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icm_annealer.benchmarks.baselines.methods import ICM, METHODS
from icm_annealer.benchmarks.baselines.plan import BaselinesPlan
from icm_annealer.benchmarks.baselines.reference_labels import human_labels
from icm_annealer.benchmarks.baselines.rows import BaselineRow, BaselineRows
from icm_annealer.benchmarks.baselines.summaries import BaselinesTable, MethodSummary, method_summaries
from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.results_file import as_json, save_figures
from icm_annealer.benchmarks.runner import Part, RowJob, run_jobs
from icm_annealer.benchmarks.saved_rows import SavedRows
from icm_annealer.benchmarks.search_presets import find_compared
from icm_annealer.benchmarks.weighing import USUAL_WEIGHING
from icm_annealer.console.output import silent
from icm_annealer.console.progress import RunProgress
from icm_annealer.evaluation.test_set import describe_intervals
from icm_annealer.scoring.forecast import Rehearsed
from icm_annealer.scoring.limited_scorer import BudgetSpentError
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import Rehearsal

ROWS, TABLE = "rows", "table"
"""The parts of `baselines.json`."""


class BaselinesComparison(NamedTuple):
    """The result: the table of `baselines.json`, and each method with its rows."""

    table: BaselinesTable
    methods: list[MethodSummary]


async def compare(
    out: Path, scorer: Scorer, data: TaskData, plan: BaselinesPlan, progress: RunProgress, *, resume: bool
) -> BaselinesComparison:
    """Runs all methods of `plan`; with `resume`, rows saved in `out` are reused. Other methods with a saved row for
    every seed are then included in the comparison. Without it, `out` is replaced.

    If the scorer's budget is spent before, the seeds that have all methods are compared. Raises BudgetSpentError if no
    seed has.
    """
    model = await scorer.model()

    def case(seed: int) -> Case:
        sizes = (plan.num_examples, plan.num_test)
        return Case(data, *sizes, seed, model, scorer, "baselines", num_known_from_gold=plan.num_known)

    first = case(plan.first_seed)  # refuse insufficient data before any measurement
    if plan.offer.prefix:
        await first.open(plan.offer.prefix)
    if plan.offer.human is not None:
        human_labels(first.train, plan.offer.human, data.task)
    if not resume:
        out.unlink(missing_ok=True)  # nothing stands in the way of new ones
    part = Part(BaselineRows(plan), SavedRows(out, ROWS, BaselineRow))
    try:
        await run_jobs(
            list(_jobs(data, plan)), {ROWS: part}, (ROWS, ICM), lambda job: case(job.seed), progress, resume=resume
        )
    except BudgetSpentError as error:
        if not _whole_seeds(part.rows, plan):
            raise BudgetSpentError(f"{error.message}: no seed has all methods. --resume continues") from None
    seeds = _whole_seeds(part.rows, plan)
    num_rows = Counter(row.method for row in part.rows if row.seed in seeds)
    rows = [row for row in part.rows if row.seed in seeds and num_rows[row.method] == len(seeds)]
    methods = method_summaries(rows)
    is_grouped = any(len(np.unique(row.test_units)) < len(row.test_units) for row in rows)
    table = BaselinesTable(
        task=data.task.name,
        title=data.task.title,
        num_examples=len(first.train),
        num_test=len(first.test),
        seeds=seeds,
        num_left_out=plan.num_seeds - len(seeds),
        intervals=describe_intervals(len(seeds), is_grouped=is_grouped),
        model=model.identity.model_dump(),
        stated_rates=data.task.rates or None,
        num_known=first.num_known or None,
        methods={summary.method.name: summary.stored() for summary in methods},
    )
    save_figures(out, **{TABLE: as_json(table)})
    return BaselinesComparison(table, methods)


async def rehearse(scorer: Rehearsal, data: TaskData, plan: BaselinesPlan) -> Rehearsed:
    """Does the work of one seed, which is none of the plan's, with a rehearsal."""
    one = replace(plan, num_seeds=1, first_seed=plan.first_seed + plan.num_seeds - 1 + scorer.number)
    with tempfile.TemporaryDirectory() as folder:
        progress = RunProgress(silent(), "", [])
        await compare(Path(folder, "baselines.json"), scorer, data, one, progress, resume=False)
    return Rehearsed()


def _whole_seeds(rows: Sequence[BaselineRow], plan: BaselinesPlan) -> list[int]:
    """The seeds that have a row of every method of the plan."""
    made = {(row.seed, row.method) for row in rows}
    return [seed for seed in plan.seeds if all((seed, method.name) in made for method in plan.methods)]


def _jobs(data: TaskData, plan: BaselinesPlan) -> Iterator[RowJob]:
    """The jobs seed by seed, ICM first since it sets the budgets of the others."""
    num = plan.num_examples
    for seed in plan.seeds:
        for method in sorted(METHODS.values(), key=lambda method: method.name != ICM):
            searching = find_compared(method.search).settings(seed).expected_shots(num) if method.search else 0.0
            weight = searching + 2.0 * (num + 2 * plan.num_test) + USUAL_WEIGHING.expected_shots(num)
            yield RowJob(ROWS, data, num, seed, method.name, weight, plan.has(method.name))
