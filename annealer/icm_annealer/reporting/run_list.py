"""All runs of a folder in one table."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field
from rich.table import Table
from rich.text import Text

from icm_annealer.runs.directory import JOURNAL
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import Record
from icm_annealer.runs.schema.journal import StoppedBy
from icm_client.contract.errors import RequestError
from icm_client.text.visible import visible

MAX_DEPTH = 4
"""Folders below the one named that are looked into."""
MAX_LABELS = 4
COLOURS = {"running": "cyan", "stopped": "magenta", "finished": "green", "warned": "yellow", "unreadable": "red"}
UNREADABLE = "unreadable"


def run_folders(folder: Path) -> list[Path]:
    """Every folder in (or being) `folder` that holds a run, the one last written first."""
    found = list(_with_journal(folder, MAX_DEPTH))
    return [path for _, path in sorted(((_written(path), path) for path in found), reverse=True)]


class ListedRun(Record):
    """A run as `icm runs` lists it. Of one that cannot be read only the path, the time and the reason are known."""

    path: str
    """Below the folder that was searched."""
    written: str
    """When its journal was last written, in local time."""
    task: str | None = None
    state: str
    """`running`, `stopped`, `finished`, `warned` or `unreadable`."""
    why: str | None = None
    """Why it cannot be read."""
    warnings: list[str] = Field(default_factory=list)
    """The codes of its warnings."""
    stopped_by: StoppedBy | None = None
    verdict: str = ""
    u: float | None = None
    num_examples: int | None = None
    label_rates: dict[str, float] = Field(default_factory=dict)
    computed_tokens: int | None = None


def listed_runs(folder: Path, paths: Sequence[Path]) -> list[ListedRun]:
    """What there is to say about the runs at `paths`, which lie in `folder`."""
    return [_listed(path, str(path.relative_to(folder)) if path != folder else path.resolve().name) for path in paths]


def runs_table(runs: Sequence[ListedRun]) -> Table:
    """A line a run; one that cannot be read says why."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "task", "state", "verdict", "U", "examples", "labels", "tokens", "written"):
        table.add_column(name, justify="right" if name in ("U", "examples", "tokens") else "left", overflow="fold")
    for run in runs:
        table.add_row(*map(visible, (run.path, run.task or "")), _state(run), *map(visible, _figures(run)), run.written)
    return table


def _listed(path: Path, name: str) -> ListedRun:
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(_written(path)))
    try:
        run = RunRecord.read(path)
        return ListedRun(
            path=name,
            written=written,
            task=run.task.name,
            state=run.state,
            warnings=[alarm.code for alarm in run.alarms if alarm.level == "warning"],
            stopped_by=run.stopped_by,
            verdict=run.verdict.words if run.verdict else "",
            u=run.u,
            num_examples=len(run.ids),
            label_rates=run.label_rates,
            computed_tokens=run.computed_tokens,
        )
    except RequestError as error:
        return ListedRun(path=name, written=written, state=UNREADABLE, why=error.message)


def _state(run: ListedRun) -> Text:
    more = [run.why] if run.why else run.warnings if run.state == "warned" else []
    at_budget = " (stopped at its budget)" if run.stopped_by else ""
    text = Text(visible(f"{run.state}{': ' * bool(more)}{', '.join(more)}{at_budget}"))
    text.stylize(COLOURS[run.state])
    return text


def _figures(run: ListedRun) -> list[str]:
    """Verdict, U, examples, labels, tokens."""
    rates = " ".join(f"{name} {rate:.0%}" for name, rate in list(run.label_rates.items())[:MAX_LABELS])
    return [
        run.verdict,
        ("" if run.why else "-") if run.u is None else f"{run.u:+.3f}",
        "" if run.num_examples is None else f"{run.num_examples:,}",
        rates + (" ..." if len(run.label_rates) > MAX_LABELS else ""),
        "" if run.computed_tokens is None else f"{run.computed_tokens:,}",
    ]


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
