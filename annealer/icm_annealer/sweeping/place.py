"""Where the runs of a sweep are made: in this process, or elsewhere."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from icm_annealer.api.job import LabelJob
from icm_annealer.console.sweep_progress import ShownRun
from icm_annealer.scorers.kind import ScorerKind
from icm_annealer.sweeping.meter import Meter
from icm_annealer.sweeping.plan import PlannedRun


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

    async def make(self, run: PlannedRun, job: LabelJob, shown: ShownRun, meter: Meter) -> Made:
        """Makes `run`, by its `job` as this process would do it, and shows and counts what it does. Raises what the
        job raises; BudgetSpentError at the meter's budget. Cancelling it ends the run, whose journal is kept."""


class Here:
    """This process. The scorer that a job opens is the shared one, whose requests are counted."""

    def shares(self, kind: ScorerKind) -> bool:
        return True

    async def make(self, run: PlannedRun, job: LabelJob, shown: ShownRun, meter: Meter) -> Made:
        result = await job.run(shown)
        return Made(result.u, result.computed_tokens)


HERE = Here()
