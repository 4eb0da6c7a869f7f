"""The result of a sweep, read from its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from icm_annealer.api.label_result import LabelResult, open_run
from icm_annealer.api.report import Report
from icm_annealer.data.columnar import required
from icm_annealer.runs.directory import REPORT
from icm_annealer.sweeping.folder import read_table
from icm_annealer.sweeping.shown_table import MAX_REASON, cells
from icm_annealer.sweeping.table import GroupFigures, RunFigures
from icm_client.text.counts import counted


class SweepResult:
    """The table of a sweep, and its runs.

    `sweep` and `open_sweep` return one.

    Examples:
        >>> import icm_annealer as icm
        >>> what = {"tasks": {"living": {"first": 8}}, "settings": ["zero_shot"], "seeds": 2}
        >>> result = icm.sweep(what, out="runs/trial", scorer="fake:", progress=False)
        >>> [group.name for group in result.groups], len(result.runs), result.failed
        (['living.zero_shot.scorer'], 2, [])
        >>> len(result.open_run("living.zero_shot.scorer/seed-1").labels)
        8
        >>> icm.open_sweep("runs/trial").groups == result.groups
        True
    """

    folder: Path
    """The sweep's folder: a folder for each run, and the table as `sweep.json`, `table.csv` and `report.html`."""
    groups: list[GroupFigures]
    """The lines of the table: the runs of a task, setting, scorer and model over their seeds. Each has `name`, these
    four, `num_done`, `num_runs`, `runs`, `verdicts`, and with intervals `labels_right`, `agreement`, `u`, `tokens` and
    `seconds`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.groups = read_table(folder).groups

    @property
    def runs(self) -> list[RunFigures]:
        """All runs: `name`, `ended` (`"done"`, `"failed"` or `"unfinished"`), `reason`, `seed`, `labels_right`, `u`,
        `verdict`, `warnings`, `tokens` and `seconds`."""
        return [run for group in self.groups for run in group.runs]

    @property
    def failed(self) -> list[RunFigures]:
        """The runs that are not done; the same call tries them again."""
        return [run for run in self.runs if run.ended != "done"]

    def open_run(self, name: str) -> LabelResult:
        """The labels of a finished run, by its name. Raises RequestError."""
        return open_run(self.folder / name)

    def to_pandas(self) -> Any:
        """A DataFrame with one row per run, as `table.csv`. Raises RequestError if pandas is not installed."""
        pandas = required("pandas", "to_pandas()")
        return pandas.DataFrame(
            {"task": group.task, "setting": group.setting, "scorer": group.scorer, "model": group.model}
            | run.model_dump(exclude={"labels_right"})
            | {"labels_right": None if run.labels_right is None else run.labels_right.value}
            for group in self.groups
            for run in group.runs
        )

    def report(self) -> Report:
        """The table and its plots as a page, shown inline in a notebook."""
        return Report((self.folder / REPORT).read_text(encoding="utf-8"))

    def __repr__(self) -> str:
        lines = [f"SweepResult: {counted(len(self.runs), 'run')}, {len(self.runs) - len(self.failed):,} done"]
        for group in self.groups:
            shown = [f"{title} {cell}" for title, cell in list(cells(group).items())[1:] if cell]
            lines.append(f"  {group.name}: {', '.join(shown)}")
        lines += [f"  {run.name} {run.ended}: {run.reason[:MAX_REASON]}" for run in self.failed]
        return "\n".join([*lines, f"  folder: {self.folder}"])


def open_sweep(folder: str | os.PathLike[str]) -> SweepResult:
    """The result of a sweep that came to its end, made by `sweep` or `icm sweep`, by its folder.

    Raises RequestError if there is none.

    Examples:
        >>> import icm_annealer as icm
        >>> what = {"tasks": {"living": {"first": 8}}, "settings": ["zero_shot"]}
        >>> result = icm.sweep(what, out="runs/trial", scorer="fake:", progress=False)
        >>> icm.open_sweep("runs/trial").runs[0].ended
        'done'
    """
    return SweepResult(Path(folder))
