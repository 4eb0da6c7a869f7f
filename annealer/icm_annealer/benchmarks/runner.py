"""Rows of many methods on the same examples, seed by seed: made, saved as soon as they are there, and kept."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.results_file import machine, read_figures, save_figures
from icm_annealer.console.progress import RunProgress
from icm_annealer.core.arrays import Ints
from icm_client.contract.errors import RequestError

Row = dict[str, Any]
Key = tuple[str, int, int, str]
CHECK = "check"
"""The field with a row's checksum."""


def joined(numbers: Ints) -> str:
    """Numbers as a row holds them: in one line of text, however many there are."""
    return " ".join(map(str, numbers.tolist()))


def parted(text: str) -> Ints:
    """The numbers that `joined` put together."""
    return np.array(text.split(), dtype=np.int64)


class Job(NamedTuple):
    """One row to come."""

    part: str
    """The list of the file that it goes into."""
    data: TaskData
    num: int
    seed: int
    name: str
    """What is tried: no two jobs of a part, task, size and seed have the same."""
    weight: float
    """About how many shots it computes; only the time left depends on it."""
    is_wanted: bool = True
    """Whether it is made where it is not saved. One that is not wanted is taken if it is there."""

    @property
    def key(self) -> Key:
        return self.data.task.name, self.num, self.seed, self.name

    def __str__(self) -> str:
        return f"{self.data.task.name}, {self.num} examples, seed {self.seed}: {self.name}"


class Steps:
    """Tells the progress of one job, whatever part of it was told already."""

    def __init__(self, progress: RunProgress, weight: float):
        self._progress, self._weight, self._told = progress, weight, 0.0

    def reach(self, share: float) -> None:
        share = min(max(share, self._told), 1.0)
        self._progress.step((share - self._told) * self._weight)
        self._told = share


class Maker(Protocol):
    """Makes rows. The row of its `anchor`, if that takes part or is saved, is there before a case's others, and shown
    to them."""

    @property
    def anchor(self) -> str: ...

    def to_dict(self, case: Case, name: str, anchor: Row | None) -> Row:
        """What the row depends on."""
        ...

    async def row(self, case: Case, name: str, anchor: Row | None, steps: Steps) -> Row:
        """The row, without what it has in common with all others."""
        ...


async def run_jobs(
    jobs: Sequence[Job],
    maker: Maker,
    open_case: Callable[[Job], Case],
    saved: SavedRows,
    progress: RunProgress,
    *,
    resume: bool,
) -> list[Row]:
    """The jobs' rows, in their order; with `resume` those that are saved and were made of the same are not made again.

    Jobs of one case stand side by side. What is stopped half-way leaves no row.
    """

    def kept(job: Job, case: Case, anchor: Row | None) -> Row | None:
        return saved.row(job, maker.to_dict(case, job.name, anchor)) if resume else None

    wanted = [job for job in jobs if job.is_wanted]
    steps_per_shot = len(wanted) / sum(job.weight for job in wanted)
    num_steps, rows = float(len(wanted)), list[Row]()
    progress.expect(num_steps)
    case: Case | None = None
    anchor: Row | None = None
    for job in jobs:
        num_mine = steps_per_shot * job.weight
        if case is None or case.key != job.key[:3]:
            case = open_case(job)
            anchor = kept(job._replace(name=maker.anchor), case, None)
        row = kept(job, case, anchor)
        if job.is_wanted and row is not None:
            num_steps -= num_mine
            progress.expect(num_steps)
        elif job.is_wanted:
            progress.status(str(job))
            steps = Steps(progress, num_mine)
            made = await maker.row(case, job.name, anchor, steps)
            row = saved.put(job, made, maker.to_dict(case, job.name, anchor))
            steps.reach(1.0)
        if row is not None:
            anchor = row if job.name == maker.anchor else anchor
            rows.append(row)
    return rows


class SavedRows:
    """The rows in a file of figures, by what no two of a part have in common. Rows of other jobs stay there."""

    def __init__(self, out: Path, parts: Sequence[str], name: str):
        """`name` is the field that tells what was tried; rows without it are of what their part is called.

        Raises RequestError if the file holds something else, or a row that is not as it was written.
        """
        self._out, self._name = out, name
        figures = read_figures(out)
        try:
            self._rows = {part: {self._key(part, row): row for row in figures.get(part, [])} for part in parts}
        except (KeyError, TypeError):
            raise RequestError(f"{out} holds rows of another version; move it away, or give another --out") from None
        for part, rows in self._rows.items():
            for (task, num, seed, tried), row in rows.items():
                if CHECK in row and row[CHECK] != _checksum(row):  # rows of older versions have none
                    raise RequestError(
                        f"{out}: the row {part}, {task}, {num} examples, seed {seed}, {tried} was changed or damaged: "
                        "take it out of the file, and it is made again"
                    )

    def row(self, job: Job, of: Row) -> Row | None:
        """The job's row, if it is there and was made of the same."""
        row = self._rows[job.part].get(job.key)
        return row if row is not None and row.get("of") == _as_saved(of) else None

    def put(self, job: Job, made: Row, of: Row) -> Row:
        """Takes in what was made, with what all rows have in common, and writes the file."""
        task, num, seed, _ = job.key
        row = {"task": task, "n": num, "seed": seed, **made, "of": _as_saved(of), "machine": machine()}
        row[CHECK] = _checksum(row)
        self._rows[job.part][job.key] = row
        save_figures(self._out, **{job.part: list(self._rows[job.part].values())})
        return row

    def _key(self, part: str, row: Row) -> Key:
        return row["task"], row["n"], row["seed"], row.get(self._name, part)


def _as_saved(of: Row) -> Row:
    """What a file gives back of it: lists for tuples."""
    saved: Row = json.loads(json.dumps(of))
    return saved


def _checksum(row: Row) -> int:
    """Of what was measured: figures that were changed, or that a disk lost, would sum up to wrong ones in silence."""
    rest = {name: value for name, value in row.items() if name not in (CHECK, "of")}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())
