"""The one loop: ask, plan, score, journal, tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import label_rates
from icm_annealer.data.examples import Example, consistency_of, digest
from icm_annealer.data.task import Task
from icm_annealer.runs.journal import Journal
from icm_annealer.runs.schema.journal import RunHeader, RunSettings, Window
from icm_annealer.runs.schema.rows import LabelRow
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult, PassScorer, Scorer, window_of
from icm_annealer.search.base import Problem, Result
from icm_annealer.search.settings import Settings
from icm_client.contract.wire import ModelInfo


@dataclass(frozen=True)
class Run:
    """A finished search over one dataset."""

    examples: Sequence[Example]
    task: Task
    settings: Settings
    model: ModelInfo
    problem: Problem
    result: Result
    num_passes: int
    last: tuple[PassRequest, PassResult]
    """The last pass."""
    passes: PassScorer
    """What asked for it, and can ask for more."""

    @property
    def labels(self) -> Ints:
        """The winner's label numbers, by example."""
        return self.result.winner.labels

    def rows(self, run: str = "") -> list[LabelRow]:
        """One row an example, in their order."""
        winner = self.result.winner
        answer, margins, names = PassResult(winner.logprobs), winner.margins, self.task.label_names
        probs, mass = np.exp(answer.normalized), answer.label_mass
        return [
            LabelRow(
                id=example.id,
                label=names[label],
                probs={name: round(float(p), 6) for name, p in zip(names, probs[number], strict=True)},
                label_mass=round(float(mass[number]), 6),
                margin=round(float(margins[number]), 6),
                group=example.group,
                run=run,
            )
            for number, (example, label) in enumerate(zip(self.examples, self.labels, strict=True))
        ]


def run_header(examples: Sequence[Example], task: Task, settings: Settings, model: ModelInfo) -> RunHeader:
    """What must not change between the beginning of a run and its resumption."""
    return RunHeader(
        settings=RunSettings.model_validate(settings.to_dict()),
        task=task,
        data=digest(examples),
        model=model.identity,
        window=Window(**window_of(model)),
        ids=[example.id for example in examples],
    )


async def anneal(
    examples: Sequence[Example],
    task: Task,
    scorer: Scorer,
    settings: Settings | None = None,
    *,
    journal: Journal | None = None,
    on_pass: Callable[[PassEvent], None] | None = None,
    experiment: str = "default",
) -> Run:
    """Searches for the most coherent labels of `examples`.

    With a `journal`, every answer is written down before the search is told, and answers that it already holds are
    told instead of asked. `on_pass` is called once a pass. Raises what the scorer's client raises; the journal is
    then a valid run that can be resumed.
    """
    settings = settings or Settings()
    model = await scorer.model()
    consistency = consistency_of(task, examples)
    units = consistency.groups if task.leave_out == "group" else [np.array([i]) for i in range(len(examples))]
    problem = Problem(len(examples), len(task.labels), units, consistency, settings.objective(), settings.plan_kind())
    passes = await PassScorer.open(scorer, task, examples, units, model, experiment, settings.model)
    loop = _Loop(problem, passes, journal, on_pass)
    search = settings.start(problem)
    requests = next(search)
    while True:
        answers = await loop.answer(requests)
        try:
            requests = search.send(answers)
        except StopIteration as stop:
            result: Result = stop.value
            break
    assert loop.last is not None  # every search asks something
    return Run(
        examples,
        task,
        settings,
        model,
        problem,
        result,
        loop.num_passes,
        loop.last,
        passes,
    )


class _Loop:
    """Answers rounds of asks, from the journal while it lasts, then from the scorer."""

    def __init__(
        self,
        problem: Problem,
        passes: PassScorer,
        journal: Journal | None,
        on_pass: Callable[[PassEvent], None] | None,
    ):
        self._problem, self._passes = problem, passes
        self._journal, self._on_pass = journal, on_pass
        self.num_passes = 0
        self.last: tuple[PassRequest, PassResult] | None = None

    async def answer(self, requests: Sequence[PassRequest]) -> list[PassResult]:
        """One round. Passes are journalled in the order asked, whichever the scorer finishes first."""
        recorded = [self._journal.recorded_pass(request) if self._journal else None for request in requests]
        tasks = [
            None if answer else asyncio.create_task(self._passes.score(request))
            for request, answer in zip(requests, recorded, strict=True)
        ]
        answers: list[PassResult] = []
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            for request, known, task in zip(requests, recorded, tasks, strict=True):
                answer = known if known is not None else await _required(task)
                start, waited = clock(), clock() - start
                self._note(request, answer, known is not None, waited)
                answers.append(answer)
        finally:
            for task in tasks:
                if task is not None:
                    task.cancel()
            await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        self.last = requests[-1], answers[-1]
        return answers

    def _note(self, request: PassRequest, answer: PassResult, resumed: bool, waited: float) -> None:
        self.num_passes += 1
        own = request.labels[request.queries]
        known = request.labels[request.labels >= 0]
        inside = bool((own >= 0).all())
        num_contradictions = self._problem.consistency.num_contradictions(request.labels)
        objective = self._problem.objective
        event = PassEvent(
            self.num_passes,
            request,
            answer,
            objective.u(answer.logprobs, own, num_contradictions) if inside else None,
            objective.predictability(answer.logprobs, own) if inside else None,
            num_contradictions,
            label_rates(known, self._problem.num_labels).tolist() if len(known) else [],
            resumed,
            waited,
        )
        if self._journal and not resumed:
            self._journal.write_pass(event)
        if self._on_pass:
            self._on_pass(event)


async def _required(task: asyncio.Task[PassResult] | None) -> PassResult:
    assert task is not None
    return await task
