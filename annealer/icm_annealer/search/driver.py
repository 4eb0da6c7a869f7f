"""The driver: scores the passes that a search requests, round by round, until the search ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import label_rates
from icm_annealer.scoring.cost_model import TokenCounter
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.search.base import Problem, Result, Search, StopSearch
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Usage

OnPass = Callable[[PassEvent], None]


class AnswersPasses(Protocol):
    """What answers passes; `PassScorer` does."""

    async def score(self, request: PassRequest) -> PassResult: ...


class RecordedPasses(Protocol):
    """A store of answers: returns those of an earlier process in request order, and records new ones."""

    def recorded_pass(self, request: PassRequest, num_stops: int) -> PassResult | None:
        """The next recorded answer; None if none is left. `num_stops` is how often the search has been stopped: if it
        goes on where an earlier process stopped it, what that process recorded from there on is dropped."""
        ...

    def was_stopped(self, num_stops: int) -> bool | None:
        """Whether an earlier process stopped the search at this point; None if none got here."""
        ...

    def write_pass(self, event: PassEvent) -> None:
        """Records an answer before the search receives it."""
        ...


@dataclass
class Costs:
    """The costs of a search's passes."""

    usage: Usage = field(default_factory=Usage)
    """Reported by the engine; recorded answers cost nothing."""
    num_passes: int = 0
    num_reads: int = 0
    seconds: float = 0.0
    """Time spent waiting for answers."""


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a finished search."""

    result: Result
    costs: Costs
    last: tuple[PassRequest, PassResult]
    """The last pass."""
    is_stopped: bool
    """True if it was stopped before its end."""

    @property
    def labels(self) -> Ints:
        """The winner's label numbers, by example."""
        return self.result.winner.labels

    @property
    def reads_per_example(self) -> float:
        return self.costs.num_reads / len(self.labels)


Stops = Callable[[Costs, Sequence[PassRequest]], bool]
"""Whether to stop a search with these costs so far, whose next round has these requests."""


async def drive(
    search: Search,
    problem: Problem,
    passes: AnswersPasses,
    *,
    recorded: RecordedPasses | None = None,
    on_pass: OnPass | None = None,
    counter: TokenCounter | None = None,
    stops: Stops | None = None,
) -> SearchOutcome:
    """Runs `search` over `problem` to its end.

    Answers in `recorded` are reused; new ones are recorded before the search receives them. `counter` counts each pass
    before `on_pass` is called for it. `stops` is called after each round that has another one behind it; the search is
    stopped where it returns True, but never at a point where an earlier process went on. Raises the errors of
    `PassScorer.score` and `recorded`; everything recorded until then is valid. Raises RequestError for a search that
    does not hold known labels.
    """
    rounds = _Rounds(problem, passes, recorded, on_pass, counter)
    requests = next(search)
    while True:
        answers = await rounds.answer(requests)
        last = requests[-1], answers[-1]
        try:
            requests = search.send(answers)
            is_stopping = rounds.is_stopping(stops, requests)
            rounds.num_stops += is_stopping
            while is_stopping:
                before, requests = requests, search.throw(StopSearch())
                is_stopping = requests is not before
        except StopIteration as stop:
            _check_known(problem, stop.value)
            return SearchOutcome(stop.value, rounds.costs, last, rounds.num_stops > 0)
        except StopSearch:
            raise RequestError("the search does not end when it is stopped: it cannot have a budget") from None


class _Rounds:
    """Answers rounds of requests: from recorded answers first, then from the scorer."""

    def __init__(
        self,
        problem: Problem,
        passes: AnswersPasses,
        recorded: RecordedPasses | None,
        on_pass: OnPass | None,
        counter: TokenCounter | None,
    ):
        self._problem, self._passes, self._recorded = problem, passes, recorded
        self._on_pass, self._counter = on_pass, counter
        self.costs = Costs()
        self.num_stops = 0

    def is_stopping(self, stops: Stops | None, requests: Sequence[PassRequest]) -> bool:
        """Whether to stop the search now. The first stop of an earlier process is decided anew; after it, the search
        ends as it did."""
        was_stopped = self._recorded.was_stopped(self.num_stops) if self._recorded else None
        if was_stopped is not None and (self.num_stops or not was_stopped):
            return was_stopped
        return stops is not None and stops(self.costs, requests)

    async def answer(self, requests: Sequence[PassRequest]) -> list[PassResult]:
        """Answers one round. Passes are recorded in the order of the requests, not of completion."""
        known = [
            self._recorded.recorded_pass(request, self.num_stops) if self._recorded else None for request in requests
        ]
        tasks = [
            None if answer else asyncio.create_task(self._passes.score(request))
            for request, answer in zip(requests, known, strict=True)
        ]
        answers: list[PassResult] = []
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            for request, recorded, task in zip(requests, known, tasks, strict=True):
                answer = recorded if recorded is not None else await _required(task)
                start, waited = clock(), clock() - start
                self._note(request, answer, recorded is not None, waited)
                answers.append(answer)
        finally:
            for task in tasks:
                if task is not None:
                    task.cancel()
            await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        return answers

    def _note(self, request: PassRequest, answer: PassResult, resumed: bool, waited: float) -> None:
        costs = self.costs
        costs.usage, costs.num_passes = costs.usage + answer.usage, costs.num_passes + 1
        costs.num_reads, costs.seconds = costs.num_reads + len(request.queries), costs.seconds + waited
        if self._counter:
            self._counter.add(request)
        if not self._recorded and not self._on_pass:
            return
        event = pass_event(
            self._problem,
            costs.num_passes,
            request,
            answer,
            resumed=resumed,
            waited=waited,
            num_stops=self.num_stops,
        )
        if self._recorded and not resumed:
            self._recorded.write_pass(event)
        if self._on_pass:
            self._on_pass(event)


def pass_event(
    problem: Problem,
    number: int,
    request: PassRequest,
    answer: PassResult,
    *,
    resumed: bool,
    waited: float,
    num_stops: int = 0,
) -> PassEvent:
    """The event of an answered pass, with U and the label rates of its request."""
    own = request.labels[request.queries]
    known = request.labels[request.labels >= 0]
    inside = bool((own >= 0).all())
    num_contradictions = problem.consistency.num_contradictions(request.labels)
    objective, contexts = problem.objective, problem.contexts_of(request)
    predictability = objective.predictability(answer.logprobs, own, contexts) if inside else None
    return PassEvent(
        number,
        request,
        answer,
        None if predictability is None else objective.u_of(predictability, num_contradictions),
        predictability,
        num_contradictions,
        label_rates(known, problem.num_labels).tolist() if len(known) else [],
        resumed,
        waited,
        num_stops,
    )


def _check_known(problem: Problem, result: Result) -> None:
    """For a search of another package, which may be older than known labels."""
    if any((problem.held(candidate.labels) != candidate.labels).any() for candidate in result.candidates):
        raise RequestError("the search returned other labels than the known ones: it cannot hold known labels")


async def _required(task: asyncio.Task[PassResult] | None) -> PassResult:
    assert task is not None
    return await task
