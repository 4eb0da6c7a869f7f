"""One labelling into one folder: the search, its journal, its costs, its labels, verdict, alarms and metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import label_rates
from icm_annealer.data.examples import Example
from icm_annealer.data.given_labels import NOTHING_GIVEN, GivenLabels
from icm_annealer.data.task import Task
from icm_annealer.labelling.alarm import Alarm
from icm_annealer.labelling.alarms import alarms, spread_alarms
from icm_annealer.labelling.budget import NO_BUDGET, Budget
from icm_annealer.labelling.rescore import Rescored, rescore
from icm_annealer.labelling.search_run import Run, run_header, run_search
from icm_annealer.runs.costs import Spent, read_costs, spent, write_cost
from icm_annealer.runs.directory import JOURNAL, LABELS, LABELS_BEFORE, METRICS, RunDir
from icm_annealer.runs.examples_file import write_examples
from icm_annealer.runs.journal import Journal
from icm_annealer.runs.schema.journal import EndLine, RunSettings, WeighedCandidate
from icm_annealer.runs.schema.metrics import AlarmRecord, AnswerMetrics, RatesMetrics, RowCounts, RunMetrics
from icm_annealer.scoring.context_fit import ContextFit
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer
from icm_annealer.searches.settings import Settings
from icm_client.contract.adapters import model_named
from icm_client.contract.errors import IcmError


@dataclass(frozen=True)
class Labelling:
    """A finished run, with the contents of its folder."""

    run: Run
    alarms: list[Alarm]
    """Alarms about the labels, warnings first."""
    rescored: Rescored | None
    """A part of the last pass, scored again."""
    metrics: RunMetrics
    """The content of `metrics.json`."""
    had_ended: bool
    """True if it was resumed after its end: `labels.jsonl` was not written again, to keep corrections."""


async def label_dataset(
    folder: RunDir,
    examples: Sequence[Example],
    task: Task,
    scorer: Scorer,
    settings: Settings,
    *,
    given: GivenLabels = NOTHING_GIVEN,
    resume: bool = False,
    on_pass: Callable[[PassEvent], None] = lambda event: None,
    experiment: str = "default",
    rows: RowCounts | None = None,
    budget: Budget = NO_BUDGET,
    on_cut: Callable[[ContextFit], None] | None = None,
) -> Labelling:
    """Runs (or resumes) a search in `folder`, which must be prepared, and writes all files of the run there.

    If the run had ended, labels are not written again, since some may have been corrected. A search that had been
    stopped at its budget goes on if `budget` is larger; its labels until then are kept as `labels.before.jsonl`. `rows`
    counts the rows of the data, and is copied to the metrics; `on_cut` is that of `run_search`. Raises the errors of
    `run_search`, and JournalError.
    """
    model = model_named(await scorer.model(), settings.model)
    header = run_header(examples, task, settings, model, given)
    journal = (Journal.resume if resume else Journal.begin)(folder / JOURNAL, header)
    num_dropped = 0

    def count_pass(event: PassEvent) -> None:
        nonlocal num_dropped
        num_dropped = max(num_dropped, event.answer.num_dropped)
        if not event.resumed:
            write_cost(folder.path, event.number, event.answer.seconds, event.waited, event.answer.usage)
        on_pass(event)

    try:
        before = spent(read_costs(folder.path))
        write_examples(folder, examples, task)
        run = await run_search(
            examples,
            task,
            scorer,
            settings,
            given=given,
            journal=journal,
            on_pass=count_pass,
            experiment=experiment,
            budget=budget,
            before=before,
            on_cut=on_cut,
        )
        found = alarms(run.problem, run.result, examples, num_dropped, is_stopped=run.stopped_by is not None)
        is_new = journal.write_end(_end_line(run, found))
    finally:
        journal.close()
    had_ended = not is_new and (folder / LABELS).exists()
    if not had_ended:
        with contextlib.suppress(FileNotFoundError):
            (folder / LABELS).replace(folder / LABELS_BEFORE)
        folder.write_rows(LABELS, run.rows(folder.path.name))
    rescored = await _rescored(folder, run)
    found += spread_alarms(rescored) if rescored else []
    metrics = _metrics(run, found, rescored, spent(read_costs(folder.path)), rows)
    folder.write(METRICS, metrics)
    return Labelling(run, found, rescored, metrics, had_ended)


async def _rescored(folder: RunDir, run: Run) -> Rescored | None:
    """None if the scorer no longer answers: a finished run does not need it."""
    try:
        rescored = await rescore(run, folder)
    except IcmError:
        return None
    if rescored and rescored.usage.num_reads:
        write_cost(folder.path, None, rescored.seconds, rescored.seconds, rescored.usage)
    return rescored


def _end_line(run: Run, found: Sequence[Alarm]) -> EndLine:
    winner = run.result.winner
    return EndLine(
        labels=run.labels.tolist(),
        u=winner.u,
        u_se=winner.u_se,
        candidates=[WeighedCandidate(list(c.starts), c.u, c.u_se) for c in run.result.candidates],
        alarms=[alarm.code for alarm in found],
        verdict=run.verdict.name,
        stopped=run.stopped_by,
    )


def _metrics(
    run: Run, found: Sequence[Alarm], rescored: Rescored | None, cost: Spent, rows: RowCounts | None
) -> RunMetrics:
    result, names = run.result, run.task.label_names
    return RunMetrics(
        task=run.task.name,
        settings=RunSettings.model_validate(run.settings.to_dict()),
        rows=rows,
        num_examples=len(run.examples),
        u=result.winner.u,
        u_se=result.winner.u_se,
        answers=[
            AnswerMetrics(
                starts=list(candidate.starts),
                u=candidate.u,
                u_se=candidate.u_se,
                u_own_orders=candidate.u_own,
                agreement=_agreement(candidate.labels, run.labels),
            )
            for candidate in result.candidates
        ],
        chain_agreement=[_agreement(labels, run.labels) for labels in result.chains],
        label_rates=_by_name(names, label_rates(run.labels, len(names))),
        stated_rates=run.task.rates or None,
        at_rates=[
            RatesMetrics(
                label_rates=_by_name(names, one.rates),
                u=one.u,
                u_se=one.error,
                is_winner=one is result.chosen,
            )
            for one in result.at_rates
        ]
        or None,
        num_known=int(run.problem.is_known.sum()) or None,
        num_passes=run.num_passes,
        prompt_tokens=cost.usage.prompt_tokens,
        computed_tokens=cost.usage.computed_tokens,
        cached_tokens=cost.usage.cached_tokens,
        search_seconds=cost.search_seconds,
        rescore_spread=rescored.spread if rescored else None,
        alarms=[AlarmRecord(**asdict(alarm)) for alarm in found],
        verdict=run.verdict,
        stopped_by=run.stopped_by,
        notes=result.notes or None,
    )


def _by_name(names: Sequence[str], rates: Array) -> dict[str, float]:
    return dict(zip(names, rates.tolist(), strict=True))


def _agreement(labels: Ints, others: Ints) -> float:
    return float(np.mean(labels == others))
