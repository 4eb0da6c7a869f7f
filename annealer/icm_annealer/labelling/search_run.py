"""Runs or resumes a search over one dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.data.examples import Example, digest
from icm_annealer.data.given_labels import NOTHING_GIVEN, GivenLabels
from icm_annealer.data.label_columns import searched_fields
from icm_annealer.data.task import Task
from icm_annealer.labelling.budget import NO_BUDGET, Budget, SearchBudget
from icm_annealer.labelling.verdict import verdict
from icm_annealer.runs.costs import NOTHING_SPENT, Spent
from icm_annealer.runs.journal import Journal
from icm_annealer.runs.schema.journal import ContextWindow, RunHeader, RunSettings, StoppedBy
from icm_annealer.runs.schema.rows import LabelRow
from icm_annealer.runs.schema.verdict import Verdict
from icm_annealer.scoring.context_fit import ContextFit
from icm_annealer.scoring.cost_model import PassTokens, TokenCounter
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult, PassScorer, Scorer, window_of
from icm_annealer.search.base import Candidate, Problem, Result
from icm_annealer.search.driver import SearchOutcome, drive
from icm_annealer.search.problem import problem_of
from icm_annealer.searches.settings import Settings
from icm_client.contract.adapters import model_named
from icm_client.contract.wire import ModelInfo

NUM_DIGITS = 6
"""Decimal places of the numbers in `labels.jsonl`."""


@dataclass(frozen=True)
class Run:
    """A finished search over one dataset."""

    examples: Sequence[Example]
    task: Task
    settings: Settings
    model: ModelInfo
    problem: Problem
    outcome: SearchOutcome
    verdict: Verdict
    passes: PassScorer
    """The scorer of its passes, for further passes."""
    stopped_by: StoppedBy | None = None
    """The budget at which the search was stopped; None if it came to its end."""
    needed: Budget = NO_BUDGET
    """About the least budget with which a search that was stopped goes on."""

    @property
    def result(self) -> Result:
        return self.outcome.result

    @property
    def num_passes(self) -> int:
        return self.outcome.costs.num_passes

    @property
    def last(self) -> tuple[PassRequest, PassResult]:
        """The last pass."""
        return self.outcome.last

    @property
    def labels(self) -> Ints:
        """The winner's label numbers, by example."""
        return self.outcome.labels

    def rows(self, run: str = "") -> list[LabelRow]:
        """One row per example, in order."""
        return label_rows(self.examples, self.task, self.problem, self.result.winner, run)


def label_rows(
    examples: Sequence[Example], task: Task, problem: Problem, winner: Candidate, run: str = ""
) -> list[LabelRow]:
    """The lines of `labels.jsonl` for the labels of `winner`, one per example, in order."""
    names, is_known, in_context = task.label_names, problem.is_known, PassResult(winner.logprobs)
    probs, context_probs = winner.probs, np.exp(in_context.normalized)
    margins, mass = winner.margins, in_context.label_mass
    return [
        LabelRow(
            id=example.id,
            label=names[label],
            probs=_named(names, probs[number]),
            margin=_rounded(margins[number]),
            context_probs=_named(names, context_probs[number]),
            label_mass=_rounded(mass[number]),
            group=example.group,
            run=run,
            known=bool(is_known[number]),
        )
        for number, (example, label) in enumerate(zip(examples, winner.labels, strict=True))
    ]


def _named(names: Sequence[str], probs: Array) -> dict[str, float]:
    return {name: _rounded(p) for name, p in zip(names, probs, strict=True)}


def _rounded(value: float) -> float:
    return round(float(value), NUM_DIGITS)


def run_header(
    examples: Sequence[Example],
    task: Task,
    settings: Settings,
    model: ModelInfo,
    given: GivenLabels = NOTHING_GIVEN,
) -> RunHeader:
    """The header of a run: everything that must be the same when it is resumed."""
    known, start = given.of(examples)
    return RunHeader(
        settings=RunSettings.model_validate(settings.to_dict()),
        task=task,
        data=digest(examples, searched_fields(examples, task)),
        model=model.identity,
        window=ContextWindow(**window_of(model)),
        ids=[example.id for example in examples],
        known=dict(known) or None,
        start=None if start is None else dict(start),
    )


async def run_search(
    examples: Sequence[Example],
    task: Task,
    scorer: Scorer,
    settings: Settings | None = None,
    *,
    given: GivenLabels = NOTHING_GIVEN,
    journal: Journal | None = None,
    on_pass: Callable[[PassEvent], None] | None = None,
    experiment: str = "default",
    budget: Budget = NO_BUDGET,
    before: Spent = NOTHING_SPENT,
    on_cut: Callable[[ContextFit], None] | None = None,
) -> Run:
    """Searches for the most coherent labels of `examples`. Labels that are `given` as known stay as they are.

    With a `journal`, every answer is recorded before the search receives it, and recorded answers are not requested
    again. `on_pass` is called once for each pass. `budget` is for all processes that work on the run; those `before`
    have spent a part. `on_cut` is called before the first pass if contexts are cut. Raises the errors of the scorer's
    client; the run can then be resumed from the journal.
    """
    settings = settings or Settings()
    model = model_named(await scorer.model(), settings.model)
    problem = problem_of(task, examples, settings.objective(), settings.plan_kind(), given)
    passes = await PassScorer.open(scorer, task, examples, problem.units, model, experiment, settings.model)
    fit = passes.fit(settings.plan_kind()) if on_cut else None
    if on_cut and fit:
        on_cut(fit)
    limit = None
    if budget.is_limited:
        counter = TokenCounter(passes, await PassTokens.of(passes))
        limit = SearchBudget(budget, before, counter, problem, settings.kind.num_answers)
        limit.check()
    stops = limit.stops if limit else None
    outcome = await drive(settings.start(problem), problem, passes, recorded=journal, on_pass=on_pass, stops=stops)
    found = verdict(problem, outcome.result, task.label_names)
    stopped_by = limit.stopped_by if limit and outcome.is_stopped else None
    if limit and stopped_by is not None:
        stopped = f"The search was stopped at its budget of {budget.text()}, before its end."
        found = replace(found, observation=f"{found.observation} {stopped}")
    needed = limit.needed if limit and stopped_by is not None else NO_BUDGET
    return Run(examples, task, settings, model, problem, outcome, found, passes, stopped_by, needed)
