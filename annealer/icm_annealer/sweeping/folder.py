"""The folder of a sweep: prepared for its runs, and with their table at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from icm_annealer.api.job import alone
from icm_annealer.runs.atomic_write import check_writable, make_folder
from icm_annealer.runs.directory import REPORT, RunDir
from icm_annealer.runs.lock import hold
from icm_annealer.runs.schema.base import read_file
from icm_annealer.sweeping.held import Held, held_runs, move_renamed
from icm_annealer.sweeping.plan import SweepPlan
from icm_annealer.sweeping.shown_table import render_page
from icm_annealer.sweeping.sweep import Outcome
from icm_annealer.sweeping.table import SweepTable, sweep_table
from icm_client.contract.errors import RequestError

FIGURES, ROWS = "sweep.json", "table.csv"


@contextlib.contextmanager
def prepared(whole: SweepPlan, plan: SweepPlan, *, overwrite: bool = False) -> Iterator[Mapping[str, Held]]:
    """Makes the folder, keeps other sweeps from it, moves renamed runs of the `whole` sweep, and says what there is of
    the runs of `plan`, a part of it. Raises RequestError, among others if another sweep is made there."""
    folder = RunDir(plan.folder)
    check_writable(folder / FIGURES)
    make_folder(folder.path)
    with alone(folder):
        hold(folder.path)
        move_renamed(whole)
        yield held_runs(plan, overwrite=overwrite)


def write_table(plan: SweepPlan, outcomes: Mapping[str, Outcome]) -> SweepTable:
    """Writes the table of all runs of `plan`, as figures, rows and a page, and returns it. Raises RequestError."""
    table, folder = sweep_table(plan, outcomes), RunDir(plan.folder)
    folder.write(FIGURES, table)
    folder.write_text(ROWS, table.csv())
    folder.write_text(REPORT, render_page(table))
    return table


def read_table(folder: Path) -> SweepTable:
    """The table that a sweep wrote last. Raises RequestError if there is none."""
    table = read_file(folder / FIGURES, SweepTable)
    if table is None:
        raise RequestError(f"{folder} is not the folder of a sweep that came to its end: it has no {FIGURES}")
    return table
