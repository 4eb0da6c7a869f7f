"""One run of a sweep that is made on another machine: what that gets, and what it answers. All of it is JSON.

The machine sees the sweep's folder, its file and all that this names at the same paths.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import platform
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.api.job import LabelJob
from icm_annealer.console.sweep_progress import ShownRun
from icm_annealer.runs.directory import JOURNAL, STARTED, RunDir
from icm_annealer.runs.journal import difference
from icm_annealer.runs.schema.base import Record
from icm_annealer.runs.schema.journal import RunHeader
from icm_annealer.runs.schema.state import StartState
from icm_annealer.scoring.passes import Scorer
from icm_annealer.sweeping.held import APART_FROM_THE_MODEL
from icm_annealer.sweeping.meter import Meter, MeteredScorer
from icm_annealer.sweeping.place import Made
from icm_annealer.sweeping.plan import PlannedRun, ScorerDefaults, SweepPlan, make_plan
from icm_annealer.sweeping.spec import ScorerEntry, SweepSpec
from icm_client.contract.adapters import model_named
from icm_client.contract.errors import IcmError, RequestError, error_body, error_from_body
from icm_client.contract.wire import ModelIdentity
from icm_client.http.api_key import read_key
from icm_client.text.distribution import DISTRIBUTION, version


class Order(Record):
    """One run, which is to be made or continued in its folder."""

    version: str
    """Of this project, on the machine that sends it."""
    spec: SweepSpec
    """The sweep of this run alone."""
    beside: str
    """The folder that files are relative to."""
    place: str
    """The run's folder, which the sender has prepared."""
    overwrite: bool
    """Whether the folder holds another run, which this one replaces."""
    started: StartState
    """What is written there of how the run is started."""
    header: RunHeader
    """The first line of its journal, as the sender planned it."""
    model: ModelIdentity | None
    """The model that made other runs with this scorer; None before there are any."""
    wait_s: float | None
    api_key_file: str | None
    experiment: str
    allow_code: bool


class Event(Record):
    """What has happened in a run; one field is given."""

    model: ModelIdentity | None = None
    """The scorer is open, and serves this model."""
    asked: bool = False
    """A request is being sent."""
    answered: int | None = None
    """A request was answered, and cost so many tokens."""
    unanswered: bool = False
    """A request will get no answer."""
    passed: bool = False
    """A pass is there."""
    u: float | None = None
    """The U of its labels, or of the run."""
    is_resumed: bool = False
    """The pass was read from the journal."""
    made: int | None = None
    """The run came to its end; all its tokens."""
    seconds: float = 0.0
    """How long its scorer was open."""
    status: int | None = None
    """The run failed, as an answer over HTTP does: its status and body."""
    body: dict[str, Any] | None = None


Emit = Callable[[Event], None]


def order_of(plan: SweepPlan, run: PlannedRun, job: LabelJob, model: ModelIdentity | None) -> str:
    """The Order of one run, as `job` would make it here, whose folder is prepared."""
    spec, beside, defaults, allow_code = plan.source
    group = run.group
    scorer = (spec.scorers or {}).get(group.scorer) or ScorerEntry(scorer=defaults.scorer, engine=defaults.engine)
    return Order(
        version=version(),
        spec=spec.of_one(group.task, group.setting, scorer, group.model, run.seed),
        beside=str(beside.absolute()),
        place=str(job.folder.path.absolute()),
        overwrite=job.overwrite,
        started=plan.started(run),
        header=run.header,
        model=model,
        wait_s=defaults.wait_s,
        api_key_file=defaults.api_key_file,
        experiment=job.counted_as,
        allow_code=allow_code,
    ).model_dump_json()


def make_run(order: str) -> Iterator[str]:
    """Makes the run of an Order; yields Events, the last of which is how it ended. An interrupt, or closing the
    iterator, ends the run in order. Raises errors of the program."""
    with asyncio.Runner() as runner:
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        task = runner.get_loop().create_task(_make(order, events.put_nowait))
        task.add_done_callback(lambda _: events.put_nowait(None))
        while (event := runner.run(events.get())) is not None:
            yield event.model_dump_json(exclude_defaults=True)
        task.result()


async def follow(
    events: AsyncIterator[str], shown: ShownRun, meter: Meter, found: Callable[[ModelIdentity], None]
) -> Made:
    """Shows and counts what `make_run` says, until the run has ended. `found` is that of ModelCheck. Raises the run's
    error; BudgetSpentError where it asks for more than is left, and OtherModelError: it is to be stopped then."""
    num_asked, event = 0, Event()
    try:
        async for text in events:
            event = Event.model_validate_json(text)
            if event.model is not None:
                found(event.model)
            elif event.asked:
                meter.ask()
                num_asked += 1
            elif event.answered is not None:
                meter.answered(event.answered)
                num_asked -= 1
            elif event.unanswered:
                meter.unanswered()
                num_asked -= 1
            elif event.passed:
                shown.passed(event.u, resumed=event.is_resumed)
    finally:
        meter.unanswered(num_asked)
    if event.status is not None:
        error = error_from_body(event.status, event.body)
        # A process that was cut off from the cluster may still be writing. It ends soon: the run is tried again.
        raise IcmError(error.message, code=error.code) if error.code == "run_busy" else error
    if event.made is None:
        raise IcmError("its task ended before the run did", code="task_lost")
    return Made(math.nan if event.u is None else event.u, event.made, event.seconds)


async def _make(order: str, emit: Emit) -> None:
    try:
        job, known, started = _job(order)
        start = time.monotonic()
        opened, name = job.open_scorer, job.settings.model
        job = replace(job, open_scorer=lambda *args: _metered(opened(*args), name, known, emit))
        try:
            job.prepare()
            job.folder.write(STARTED, started)
            result = await job.run(_Reported(emit))
        finally:
            job.folder.release()
        emit(Event(made=result.computed_tokens, u=_finite(result.u), seconds=time.monotonic() - start))
    except IcmError as error:
        emit(Event(status=error.status, body=error_body(error)))


class _Ordered(NamedTuple):
    job: LabelJob
    model: ModelIdentity | None
    started: StartState


def _job(text: str) -> _Ordered:
    """Raises RequestError if this machine is not fit for the order."""
    host = platform.node()
    if (sent := json.loads(text)["version"]) != version():
        raise RequestError(f"{host} has {DISTRIBUTION} {version()}, and the sweep was started with {sent}: install one")
    order = Order.model_validate_json(text)
    place = Path(order.place)
    if not any((place / name).is_file() for name in (STARTED, JOURNAL)):
        raise RequestError(f"{host} does not see {place}: --out must be a folder that all nodes share")
    key_file = order.api_key_file
    defaults = ScorerDefaults(
        "", wait_s=order.wait_s, read_key=lambda: read_key(Path(key_file)) if key_file else None, api_key_file=key_file
    )
    try:
        (run,) = make_plan(order.spec, Path(order.beside), place, defaults, allow_code=order.allow_code).runs
    except RequestError as error:
        raise RequestError(f"on {host}: {error.message}", code=error.code) from None
    if (what := difference(order.header, run.header, APART_FROM_THE_MODEL)) is not None:
        raise RequestError(f"on {host} the run has {what}: all nodes must see the same files")
    job = replace(
        run.job,
        folder=RunDir(place),
        experiment=order.experiment,
        resume=not order.overwrite,
        overwrite=order.overwrite,
    )
    return _Ordered(job, order.model, order.started)


@contextlib.asynccontextmanager
async def _metered(
    opened: AbstractAsyncContextManager[Scorer], name: str, known: ModelIdentity | None, emit: Emit
) -> AsyncIterator[Scorer]:
    """An opened scorer, whose requests are reported, and its model `name`, which has to be the `known` one. Raises
    RequestError."""
    async with opened as scorer:
        model = model_named(await scorer.model(), name).identity
        if known is not None and model != known:
            raise RequestError(
                f"{platform.node()} has {model.name} ({model.digest[:12]}, {model.engine}), and runs here were made by "
                f"{known.name} ({known.digest[:12]}, {known.engine}): all nodes must have the same model",
                code="other_model",
            )
        emit(Event(model=model))
        yield MeteredScorer(scorer, _Reported(emit))


class _Reported(ShownRun):
    """Reports what a run and its requests do."""

    def __init__(self, emit: Emit):
        super().__init__(0, lambda _: None)
        self._emit = emit

    def passed(self, u: float | None, *, resumed: bool) -> None:
        self._emit(Event(passed=True, u=_finite(u), is_resumed=resumed))

    def ask(self) -> None:
        self._emit(Event(asked=True))

    def answered(self, num_tokens: int) -> None:
        self._emit(Event(answered=num_tokens))

    def unanswered(self) -> None:
        self._emit(Event(unanswered=True))


def _finite(u: float | None) -> float | None:
    return u if u is not None and math.isfinite(u) else None
