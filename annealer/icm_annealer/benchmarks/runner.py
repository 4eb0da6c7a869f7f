"""Makes the rows of a comparison, case by case, and reuses saved rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.saved_rows import AnyRow, Key, SavedRow, SavedRows
from icm_annealer.console.progress import RunProgress

Reference = TypeVar("Reference", bound=SavedRow, contravariant=True)
Made = TypeVar("Made", bound=SavedRow, covariant=True)


class RowJob(NamedTuple):
    """One row to make."""

    part: str
    """The part of the file that holds it."""
    data: TaskData
    num: int
    seed: int
    name: str
    """The name of the method: unique for a part, task, size and seed."""
    weight: float
    """The approximate number of shots computed; used only for the time left."""
    is_made: bool = True
    """Whether to make the row if it is not saved; if False, it is used only if saved."""

    @property
    def key(self) -> Key:
        return self.data.task.name, self.num, self.seed, self.name

    def __str__(self) -> str:
        return f"{self.data.task.name}, {self.num} examples, seed {self.seed}: {self.name}"


class Steps:
    """Reports the progress of one job in increments."""

    def __init__(self, progress: RunProgress, weight: float):
        self._progress, self._weight, self._reported = progress, weight, 0.0

    def reach(self, share: float) -> None:
        share = min(max(share, self._reported), 1.0)
        self._progress.step((share - self._reported) * self._weight)
        self._reported = share


class Maker(Protocol[Reference, Made]):
    """Makes the rows of one part. It receives the case's reference row if there is one."""

    def depends_on(self, case: Case, name: str, reference: Reference | None) -> dict[str, Any]:
        """The inputs of the row."""
        ...

    async def row(self, case: Case, name: str, reference: Reference | None, steps: Steps) -> Made:
        """The row."""
        ...


@dataclass
class Part(Generic[AnyRow]):
    """One part of the file: the maker of its rows, the saved rows, and the rows of the current jobs."""

    maker: Maker[Any, AnyRow]
    saved: SavedRows[AnyRow]
    rows: list[AnyRow] = field(default_factory=list)
    """In the jobs' order."""


async def run_jobs(
    jobs: Sequence[RowJob],
    parts: Mapping[str, Part[Any]],
    reference: tuple[str, str],
    open_case: Callable[[RowJob], Case],
    progress: RunProgress,
    *,
    resume: bool,
) -> None:
    """Makes the rows of all jobs; with `resume`, saved rows with the same inputs are reused.

    Jobs of one case must be adjacent. `reference` is the part and name of the row that is made first in each case. An
    interrupted job leaves no row.
    """

    def kept(job: RowJob, case: Case, first: SavedRow | None) -> SavedRow | None:
        part = parts[job.part]
        row: SavedRow | None = part.saved.row(job.key, part.maker.depends_on(case, job.name, first)) if resume else None
        return row

    to_make = [job for job in jobs if job.is_made]
    steps_per_shot = len(to_make) / sum(job.weight for job in to_make)
    num_steps = float(len(to_make))
    progress.expect(num_steps)
    case: Case | None = None
    first: SavedRow | None = None
    for job in jobs:
        part, num_mine = parts[job.part], steps_per_shot * job.weight
        if case is None or case.key != job.key[:3]:
            case = open_case(job)
            first = kept(job._replace(part=reference[0], name=reference[1]), case, None)
        row = kept(job, case, first)
        if job.is_made and row is not None:
            num_steps -= num_mine
            progress.expect(num_steps)
        elif job.is_made:
            progress.status(str(job))
            steps = Steps(progress, num_mine)
            made = await part.maker.row(case, job.name, first, steps)
            row = part.saved.put(made, part.maker.depends_on(case, job.name, first))
            steps.reach(1.0)
        if row is not None:
            first = row if (job.part, job.name) == reference else first
            part.rows.append(row)
