"""Makes the runs of a sweep: several at a time on each scorer, again after failures, until all have ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from icm_annealer.console.sweep_progress import SweepProgress
from icm_annealer.runs.directory import STARTED, RunDir
from icm_annealer.runs.record import RunRecord
from icm_annealer.scoring.limited_scorer import BudgetSpentError
from icm_annealer.scoring.passes import Scorer
from icm_annealer.sweeping.held import Held, is_planned
from icm_annealer.sweeping.meter import Meter, MeteredScorer
from icm_annealer.sweeping.place import HERE, ModelCheck, OtherModelError, Place
from icm_annealer.sweeping.plan import Group, PlannedRun, SweepPlan
from icm_client.contract.adapters import model_named
from icm_client.contract.errors import AccessError, IcmError, RequestError, UnavailableError
from icm_client.contract.wire import ModelIdentity, ModelInfo
from icm_client.text.counts import counted

ERRORS = "errors.log"
"""In the sweep's folder: the tracebacks of runs that ended with an error of the program."""

Ended = Literal["done", "failed", "unfinished"]
"""How a run ended; `unfinished` at the budget."""


@dataclass(frozen=True)
class Outcome:
    """How one run ended."""

    ended: Ended
    reason: str = ""
    """Of a run that is not done."""
    is_new: bool = True
    """False for one that an earlier process had finished."""


class Swept(NamedTuple):
    """What one process did for a sweep."""

    outcomes: dict[str, Outcome]
    """How each run ended, by name, in the order of the plan."""
    scorer_seconds: float
    """The time that scorers were used, summed over scorers."""


@dataclass(frozen=True)
class SweepLimits:
    """How the runs of a sweep are made."""

    max_parallel: int = 8
    """The most runs at a time on each scorer."""
    max_tokens: int | None = None
    """The most tokens of all runs together, over all processes that work on the sweep; None is no limit."""
    num_retries: int = 3
    """How often a run that failed, other than by a mistake, is tried again by one process."""
    first_wait_s: float = 10.0
    """The time before the first retry on a scorer; it doubles up to `max_wait_s`."""
    max_wait_s: float = 300.0

    def __post_init__(self) -> None:
        """Raises RequestError."""
        if self.max_parallel < 1 or self.num_retries < 0 or (self.max_tokens is not None and self.max_tokens < 1):
            raise RequestError("at least 1 run at a time, 0 retries and, if there is a budget, 1 token are needed")

    def wait_s(self, retry: int) -> float:
        """The time before a retry, which are counted from 0."""
        return min(self.first_wait_s * 2.0 ** min(retry, 32), self.max_wait_s)


async def run_sweep(
    plan: SweepPlan,
    held: Mapping[str, Held],
    limits: SweepLimits,
    progress: SweepProgress,
    place: Place = HERE,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Swept:
    """Makes all runs that `held` does not hold finished, in `place`, and returns how each ended.

    Several scorers are used at the same time, but of those that start a model on this machine one after the other. A
    scorer of which nothing is needed is not asked for anything. No failure of a run ends another; cancelling ends all,
    and everything answered is in their journals.
    """
    return await _Sweep(plan, held, limits, progress, place, sleep).run()


class _Sweep:
    def __init__(
        self,
        plan: SweepPlan,
        held: Mapping[str, Held],
        limits: SweepLimits,
        progress: SweepProgress,
        place: Place,
        sleep: Callable[[float], Awaitable[object]],
    ):
        self._plan, self._held, self._limits, self._progress, self._sleep = plan, held, limits, progress, sleep
        self._place = place
        before = sum(one.tokens for one in held.values())
        self._meter = Meter(limits.max_tokens, before, progress.tokens)
        self._outcomes: dict[str, Outcome] = {}
        self._this_machine = asyncio.Lock()
        self._scorer_seconds = 0.0
        self._replacing: set[str] = set()
        """Runs that were begun here in the place of others: they may have got as far as to replace them."""
        self._models: dict[tuple[str, str], ModelIdentity] = {}
        for run in plan.runs:
            if (model := held[run.name].model) is not None:
                self._models.setdefault((run.group.scorer, run.group.model), model)

    async def run(self) -> Swept:
        left: dict[str, list[PlannedRun]] = {}
        for run in self._plan.runs:
            held = self._held[run.name]
            if held.is_finished and held.has_scorer:
                self._outcomes[run.name] = Outcome("done", is_new=False)
            else:
                left.setdefault(run.group.scorer, []).append(run)
        expected = {
            run.name: 0 if self._held[run.name].is_finished else run.num_passes
            for runs in left.values()
            for run in runs
        }
        self._progress.begin(expected, num_before=len(self._outcomes))
        async with asyncio.TaskGroup() as group:
            for name, runs in left.items():
                group.create_task(self._on_scorer(name, runs))
        return Swept({run.name: self._outcomes[run.name] for run in self._plan.runs}, self._scorer_seconds)

    async def _on_scorer(self, name: str, runs: Sequence[PlannedRun]) -> None:
        """Makes these runs on one scorer, in rounds: those that may succeed later are tried again in the next."""
        kind = self._plan.scorers[name].named.kind
        here = self._this_machine if kind.starts_here and self._place.shares(kind) else contextlib.nullcontext()
        async with here:
            for retry in range(self._limits.num_retries + 1):
                failed = await self._round(name, runs)
                runs = [run for run in runs if run.name in failed]
                if not runs or retry == self._limits.num_retries or self._meter.is_spent:
                    break
                wait_s = self._limits.wait_s(retry)
                num = counted(len(runs), "run")
                self._progress.note(f"{name}: {num} failed ({failed[runs[0].name].message}); again in {wait_s:.0f} s")
                await self._sleep(wait_s)
        for run in runs:
            self._end(run, Outcome("failed", failed[run.name].message))

    async def _round(self, name: str, runs: Sequence[PlannedRun]) -> dict[str, IcmError]:
        """Makes these runs; returns the errors of those that may succeed later."""
        failed: dict[str, IcmError] = {}
        slots = asyncio.Semaphore(self._limits.max_parallel)
        lost: UnavailableError | None = None

        async def make(run: PlannedRun, scorer: Scorer | None, model: ModelInfo | None) -> None:
            nonlocal lost
            async with slots:
                if lost is not None:  # each run would wait for their scorer as long as the first one did
                    failed[run.name] = lost
                    return
                try:
                    await self._make(run, scorer, model)
                except IcmError as error:
                    if scorer is not None and isinstance(error, UnavailableError):
                        lost = error
                    self._failed(run, error, failed)
                except Exception as error:  # an error of the program, or of another package's search
                    self._end(run, Outcome("failed", self._logged(run, error)))

        try:
            async with self._open(name) as scorer:
                info = await scorer.model() if scorer is not None else None
                async with asyncio.TaskGroup() as group:
                    for run in runs:
                        group.create_task(make(run, scorer, info))
        except IcmError as error:  # of the scorer itself, before any run
            for run in runs:
                self._failed(run, error, failed)
        except Exception as error:
            for run in runs:
                if run.name not in self._outcomes:
                    self._end(run, Outcome("failed", self._logged(run, error)))
            return {}
        return failed

    @contextlib.asynccontextmanager
    async def _open(self, name: str) -> AsyncIterator[Scorer | None]:
        """A scorer, whose tokens are counted; None where each run has its own."""
        if not self._place.shares(self._plan.scorers[name].named.kind):
            yield None
            return

        def status(text: str) -> None:
            self._progress.status(f"{name}: {text}")

        log = self._plan.folder / f"scorer-{name}.log"
        async with self._plan.scorers[name].named.open(status, self._progress.note, log) as scorer:
            self._progress.status("")
            start = time.monotonic()
            try:
                yield MeteredScorer(scorer, self._meter)
            finally:
                self._scorer_seconds += time.monotonic() - start

    async def _make(self, run: PlannedRun, scorer: Scorer | None, info: ModelInfo | None) -> None:
        """Makes or continues one run, or checks that a finished one was made by this model. Raises what the run
        does."""
        held, folder = self._held[run.name], run.job.folder
        if info is not None:
            self._check_model(run.group, model_named(info, run.job.settings.model).identity)
        if held.is_finished and info is not None:
            folder.write(STARTED, self._plan.started(run))
            self._end(run, Outcome("done", is_new=False))
            return
        if self._meter.is_spent:
            raise BudgetSpentError("the sweep's budget of tokens was spent before it began")
        is_other = held.is_other and not (run.name in self._replacing and is_planned(run))
        resume = folder.path.exists() and not is_other
        job = replace(run.job, resume=resume, overwrite=is_other)
        if scorer is not None:
            job = replace(job, open_scorer=lambda *_: contextlib.nullcontext(scorer))
        job.prepare()
        if is_other:
            self._replacing.add(run.name)
        folder.write(STARTED, self._plan.started(run))
        model = ModelCheck(
            self._models.get((run.group.scorer, run.group.model)), lambda found: self._check_model(run.group, found)
        )
        made = await self._place.make(run, job, self._progress.run(run.name), self._meter, model)
        if info is None:
            self._scorer_seconds += made.scorer_seconds
            self._check_model(run.group, RunRecord.read(folder.path).header.model)
        self._end(run, Outcome("done"), f"U {made.u:+.3f}, {counted(made.computed_tokens, 'token')}")

    def _check_model(self, group: Group, model: ModelIdentity) -> None:
        """Raises OtherModelError if other runs here with this scorer and adapter were made by another model."""
        before = self._models.setdefault((group.scorer, group.model), model)
        if before != model:
            raise OtherModelError(
                f"{group.scorer} now serves {model.name} ({model.digest[:12]}), and runs here were made by "
                f"{before.name} ({before.digest[:12]}): give the scorer another name in the sweep's file"
            )

    def _failed(self, run: PlannedRun, error: IcmError, failed: dict[str, IcmError]) -> None:
        """Ends a run whose failure is final, else keeps its error for a retry."""
        if run.name in self._outcomes:
            return
        if isinstance(error, BudgetSpentError):
            self._end(run, Outcome("unfinished", error.message))
        elif isinstance(error, RequestError | AccessError):
            self._end(run, Outcome("failed", error.message))
        else:
            failed[run.name] = error
            self._progress.leave(run.name)

    def _logged(self, run: PlannedRun, error: Exception) -> str:
        with contextlib.suppress(OSError), (self._plan.folder / ERRORS).open("a", encoding="utf-8") as log:
            log.write(f"{run.name}\n{''.join(traceback.format_exception(error))}\n")
        return f"{type(error).__name__}: {' '.join(str(error).split())} (see {RunDir(self._plan.folder) / ERRORS})"

    def _end(self, run: PlannedRun, outcome: Outcome, text: str = "") -> None:
        self._outcomes[run.name] = outcome
        self._progress.end(run.name, outcome.ended, text or outcome.reason)
