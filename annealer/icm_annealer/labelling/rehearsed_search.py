"""A search that is rehearsed: done as it would be, by a stand-in for a scorer."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from icm_annealer.data.examples import Example
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.task import Task
from icm_annealer.labelling.budget import NO_BUDGET, Budget
from icm_annealer.labelling.label_dataset import label_dataset
from icm_annealer.labelling.supposed_labels import supposed_labels
from icm_annealer.runs.directory import RunDir
from icm_annealer.scoring.context_fit import ContextFit
from icm_annealer.scoring.forecast import Rehearsed
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.rehearsal import LongRehearsalError, Rehearsal
from icm_annealer.search.problem import problem_of
from icm_annealer.searches.settings import Settings


async def rehearsed_search(
    rehearsal: Rehearsal,
    task: Task,
    examples: Sequence[Example],
    settings: Settings,
    given: GivenLabels,
    budget: Budget = NO_BUDGET,
) -> Rehearsed:
    """Labels `examples`, with a rehearsal as the scorer, in a temporary folder; of the budget, only the tokens count.

    Its seed is another one, so that requests that are measured have other contexts and warm no cache for the search.
    Raises the errors of `label_dataset`.
    """
    expected, num_done, num_dropped = settings.expected_passes(len(examples)), 0, 0
    cut: list[ContextFit] = []
    stages = Counter[str]()
    problem = problem_of(task, examples, settings.objective(), settings.plan_kind(), given)
    labels = supposed_labels(problem, *rehearsal.draw(problem.num_examples, problem.num_labels))
    rehearsal.suppose([example.text for example in examples], labels)

    def on_pass(event: PassEvent) -> None:
        nonlocal num_done, num_dropped
        num_done += expected.counts(event.request) if expected else 0
        num_dropped = max(num_dropped, event.answer.num_dropped)
        stages[event.request.purpose] += event.answer.usage.computed_tokens

    with tempfile.TemporaryDirectory() as place:
        try:
            await label_dataset(
                RunDir(Path(place)),
                examples,
                task,
                rehearsal,
                settings.model_copy(update={"seed": settings.seed + rehearsal.number}),
                given=given,
                on_pass=on_pass,
                budget=Budget(budget.max_tokens),
                on_cut=cut.append,
            )
        except LongRehearsalError:
            if not expected or not num_done:
                raise
            return Rehearsed(min(num_done / expected.num, 1.0), num_dropped, next(iter(cut), None), stages)
    return Rehearsed(1.0, num_dropped, next(iter(cut), None), stages)
