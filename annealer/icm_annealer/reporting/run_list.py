"""All runs of a folder in one table."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from icm_annealer.runs.directory import JOURNAL
from icm_annealer.runs.record import RunRecord
from icm_client.contract.errors import RequestError
from icm_client.text.visible import visible

MAX_DEPTH = 4
"""Folders below the one named that are looked into."""
MAX_LABELS = 4
COLOURS = {"running": "cyan", "stopped": "yellow", "finished": "green", "failed": "red", "unreadable": "red"}


def run_folders(folder: Path) -> list[Path]:
    """Every folder in (or being) `folder` that holds a run, the one last written first."""
    found = list(_with_journal(folder, MAX_DEPTH))
    return [path for _, path in sorted(((_written(path), path) for path in found), reverse=True)]


def runs_table(folder: Path, paths: list[Path]) -> Table:
    """A line a run; one that cannot be read says why."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "task", "state", "verdict", "U", "examples", "labels", "tokens", "written"):
        table.add_column(name, justify="right" if name in ("U", "examples", "tokens") else "left", overflow="fold")
    for path in paths:
        name = str(path.relative_to(folder)) if path != folder else path.resolve().name
        table.add_row(visible(name), *_cells(path), _when(_written(path)))
    return table


def _cells(path: Path) -> list[Text]:
    """Task, state, verdict, U, examples, labels, tokens."""
    try:
        run = RunRecord.read(path)
        state: str = run.state
        warnings = [alarm.code for alarm in run.alarms if alarm.level == "warning"]
        at_budget = " (stopped at its budget)" if run.stopped_by else ""
        num_labels = len(run.label_rates)
        rates = " ".join(f"{name} {rate:.0%}" for name, rate in list(run.label_rates.items())[:MAX_LABELS])
        cells = [
            run.task.name,
            (f"{state}: {', '.join(warnings)}" if state == "failed" else state) + at_budget,
            run.verdict.words if run.verdict else "",
            "-" if run.u is None else f"{run.u:+.3f}",
            f"{len(run.ids):,}",
            rates + (" ..." if num_labels > MAX_LABELS else ""),
            f"{run.computed_tokens:,}",
        ]
    except RequestError as error:
        state, cells = "unreadable", ["", f"unreadable: {error.message}", "", "", "", "", ""]
    texts = [Text(visible(cell)) for cell in cells]
    texts[1].stylize(COLOURS[state])
    return texts


def _with_journal(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            inner = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    if (folder / JOURNAL).is_file():
        yield folder
    for name in inner if depth else []:
        yield from _with_journal(folder / name, depth - 1)


def _written(path: Path) -> float:
    return (path / JOURNAL).stat().st_mtime


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
