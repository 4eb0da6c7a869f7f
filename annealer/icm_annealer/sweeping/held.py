"""What the folder of a sweep holds already: finished runs, begun ones, and runs of something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from icm_annealer.runs.costs import read_costs, spent
from icm_annealer.runs.directory import JOURNAL, STARTED
from icm_annealer.runs.journal import COMPARED, difference, read_header
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.journal import RunHeader
from icm_annealer.runs.schema.state import StartState
from icm_annealer.sweeping.mistakes import Mistakes
from icm_annealer.sweeping.plan import PlannedRun, SweepPlan
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity

APART_FROM_THE_MODEL = tuple(field for field in COMPARED if field not in ("model", "window"))
"""The fields of a journal's first line that a plan determines."""


@dataclass(frozen=True)
class Held:
    """What is there of one planned run."""

    is_begun: bool
    """There is a journal, or a folder that a killed process had prepared: the run is resumed."""
    is_finished: bool
    tokens: int
    """Computed for it so far."""
    model: ModelIdentity | None
    """The one that answered; None before the first answer."""
    has_scorer: bool
    """Whether it was made by the scorer at this address, whose model need not be asked for then."""
    is_other: bool = False
    """It is another run, which is to be replaced."""


NOTHING = Held(False, False, 0, None, False)


def held_runs(plan: SweepPlan, *, overwrite: bool = False) -> Mapping[str, Held]:
    """What the sweep's folder holds, by the names of the planned runs. Raises SweepMistakesError for runs of something
    else in the places of planned ones, unless they are to be overwritten."""
    mistakes, found = Mistakes(), dict[str, Held]()
    for run in plan.runs:
        try:
            found[run.name] = _held(plan, run)
        except RequestError as error:
            if overwrite:
                found[run.name] = replace(NOTHING, is_other=True)
            else:
                mistakes.add(str(run.job.folder.path), error.message)
    mistakes.check()
    return found


def is_planned(run: PlannedRun) -> bool:
    """Whether the run's place holds this run, begun at least, and not another one."""
    journal = run.job.folder / JOURNAL
    try:
        return _has_header(journal) and difference(read_header(journal), run.header, APART_FROM_THE_MODEL) is None
    except RequestError:
        return False


def _has_header(journal: Path) -> bool:
    """Whether there is a journal whose first line is whole."""
    try:
        with journal.open("rb") as file:
            return file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RequestError(f"{journal.name} cannot be read: {error.strerror}", code="bad_run") from None


def _held(plan: SweepPlan, run: PlannedRun) -> Held:
    """Raises RequestError if the run's place holds another run."""
    place = run.job.folder.path
    if not _has_header(place / JOURNAL):
        return replace(NOTHING, is_begun=place.exists())
    record = RunRecord.read(place)
    if (what := difference(record.header, run.header, APART_FROM_THE_MODEL)) is not None:
        raise RequestError(
            f"holds a run with {what}; give what was changed another name in the sweep's file, --overwrite to replace "
            "such runs, or another --out"
        )
    scorer = _scorer_of(read_file(place / STARTED, StartState))
    is_finished = record.is_finished and record.metrics is not None and record.stopped_by is None
    return Held(
        True,
        is_finished,
        spent(read_costs(place)).usage.computed_tokens,
        record.header.model,
        scorer is not None and scorer == _scorer_of(plan.scorers[run.group.scorer].started),
    )


def move_renamed(plan: SweepPlan) -> None:
    """Moves runs that the folder holds under other names, since names in the sweep's file were changed, to the places
    that are planned for them. Nothing else may write there. Raises RequestError if one cannot be moved."""
    free = [run for run in plan.runs if not (run.job.folder / JOURNAL).exists()]
    planned = {run.job.folder.path for run in plan.runs}
    others = [path.parent for path in plan.folder.glob(f"*/seed-*/{JOURNAL}") if path.parent not in planned]
    by_key: dict[str, Path] = {}
    for place in others:
        try:
            state, header = read_file(place / STARTED, StartState), RunRecord.read(place).header
        except RequestError:
            continue
        if _scorer_of(state) is not None:
            by_key[_key(header, state)] = place
    for run in free if by_key else []:
        old = by_key.pop(_key(run.header, plan.scorers[run.group.scorer].started), None)
        new = run.job.folder.path
        if old is not None and not new.exists():
            try:
                new.parent.mkdir(parents=True, exist_ok=True)
                old.rename(new)
                if not any(old.parent.iterdir()):
                    old.parent.rmdir()
            except OSError as error:
                raise RequestError(f"{old}: cannot be moved to {new}: {error.strerror}", code="run_folder") from None


def _key(header: RunHeader, state: StartState | None) -> str:
    """What a run is: equal for two runs that would have the same labels."""
    what = header.model_dump(mode="json", include=set(APART_FROM_THE_MODEL))
    return json.dumps([what, _scorer_of(state)], sort_keys=True)


def _scorer_of(state: StartState | None) -> tuple[str | None, ...] | None:
    """What tells scorers apart; None where the address is not known, or not kept since it holds a password."""
    return None if state is None or state.scorer is None else (state.scorer, state.engine, state.scorer_model)
