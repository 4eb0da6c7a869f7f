"""Where the runs of a sweep are made: in this process, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from icm_annealer.api.job import LabelJob
from icm_annealer.console.sweep_progress import ShownRun
from icm_annealer.scorers.kind import ScorerKind
from icm_annealer.sweeping.meter import Meter
from icm_annealer.sweeping.plan import PlannedRun
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity


class OtherModelError(RequestError):
    """A scorer serves another model than the one that made other runs of the sweep with it."""

    code = "other_model"


class ModelCheck(NamedTuple):
    """What keeps the runs with one scorer to one model."""

    known: ModelIdentity | None
    """The model that made other runs; None before there are any."""
    found: Callable[[ModelIdentity], None]
    """To be called with the model of a scorer that was opened for a run; raises OtherModelError."""


class Made(NamedTuple):
    """A run that came to its end."""

    u: float
    computed_tokens: int
    scorer_seconds: float = 0.0
    """The time that a scorer of the run's own was used."""


class Place(Protocol):
    """Makes runs whose folders are prepared."""

    def shares(self, kind: ScorerKind) -> bool:
        """Whether the sweep's process opens scorers of this kind, one for all runs on it: to ask for its model, and
        for runs that are made in this process."""

    async def make(self, run: PlannedRun, job: LabelJob, shown: ShownRun, meter: Meter, model: ModelCheck) -> Made:
        """Makes `run`, by its `job` as this process would do it, and shows and counts what it does. `model` is for a
        scorer that is opened for this run alone. Raises what the job raises; BudgetSpentError at the meter's budget;
        OtherModelError. Cancelling it ends the run, whose journal is kept."""


class Here:
    """This process. The scorer that a job opens is the shared one, whose requests are counted."""

    def shares(self, kind: ScorerKind) -> bool:
        return True

    async def make(self, run: PlannedRun, job: LabelJob, shown: ShownRun, meter: Meter, model: ModelCheck) -> Made:
        result = await job.run(shown)
        return Made(result.u, result.computed_tokens)


HERE = Here()
