"""What a sweep will cost: the forecasts of its groups, and their sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icm_annealer.scorers.kind import ignore
from icm_annealer.scoring.forecast import MEASURING_S, Forecast, forecast
from icm_annealer.sweeping.held import Held
from icm_annealer.sweeping.plan import Group, PlannedRun, SweepPlan
from icm_client.contract.errors import RequestError

MIN_MEASURING_S = 1.0
"""The least time that a scorer is measured with the requests of one group."""


@dataclass(frozen=True)
class SweepForecast:
    """The cost of all runs that are not finished; of begun ones as if they were not begun."""

    groups: Mapping[Group, Forecast]
    num_runs: int
    num_finished: int

    @property
    def total(self) -> Forecast:
        """The sum. Its time is that of one scorer after the other; its window that of the fullest prompt."""
        all_of = list(self.groups.values())
        fullest = max(all_of, key=lambda one: one.window_share)
        seconds = sum(one.seconds for one in all_of)
        tokens = sum(one.computed_tokens for one in all_of)
        return Forecast(
            sum(one.num_requests for one in all_of),
            sum(one.prompt_tokens for one in all_of),
            tokens,
            sum(one.least_tokens for one in all_of),
            sum(one.most_tokens for one in all_of),
            fullest.longest_prompt,
            fullest.max_prompt_tokens,
            max(one.num_dropped for one in all_of),
            tokens / seconds if seconds else float("nan"),
            sum(one.measured_s for one in all_of),
            min(one.share for one in all_of),
            next((one.cut for one in all_of if one.cut), None),
        )


async def sweep_forecast(
    plan: SweepPlan,
    held: Mapping[str, Held],
    status: Callable[[str], None] = ignore,
    note: Callable[[str], None] = ignore,
    log: Path | None = None,
) -> SweepForecast:
    """Rehearses one run of each group, and measures each scorer for about ten seconds in all. Makes nothing. Raises the
    errors of the scorers, and RequestError if no run is left to make."""
    left: dict[Group, list[PlannedRun]] = {}
    for run in plan.runs:
        if not held[run.name].is_finished:
            left.setdefault(run.group, []).append(run)
    if not left:
        raise RequestError("--dry-run: all runs of the sweep are finished, so nothing will be asked")
    found: dict[Group, Forecast] = {}
    for name in dict.fromkeys(group.scorer for group in left):
        groups = [group for group in left if group.scorer == name]
        async with plan.scorers[name].named.open(status, note, log) as scorer:
            for group in groups:
                status(f"{group.name}: counting tokens, and measuring the scorer's speed")
                measuring_s = max(MEASURING_S / len(groups), MIN_MEASURING_S)
                runs: Sequence[PlannedRun] = left[group]
                work = runs[0].job.rehearse
                found[group] = await forecast(scorer, work, num_times=len(runs), measuring_s=measuring_s)
    num_left = sum(map(len, left.values()))
    return SweepForecast(found, num_left, len(plan.runs) - num_left)
