"""The interface of an export format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from icm_annealer.core.library import Library
from icm_annealer.data.task import Task
from icm_annealer.export.labelled import Labelled
from icm_annealer.export.reading import Reading


@dataclass(frozen=True)
class ExportJob:
    """The labels to export, and the options."""

    task: Task
    labelled: Sequence[Labelled]
    """At least one; those that abstain only for a format that holds unlabelled rows."""
    model_version: str
    suffix: str
    """The suffix of the file to write, such as `.csv`."""
    read: Callable[[], Reading]
    """How examples are read as responses; called by formats that need to know. Raises RequestError."""
    raw: bool = False
    """Whether a CSV holds texts as they are, also those that a spreadsheet would calculate."""


class Written(NamedTuple):
    """The number of rows written, and notes for the user."""

    num_rows: int
    notes: list[str]


@dataclass(frozen=True)
class ExportFormat:
    """One format."""

    name: str
    """The value of `--format`."""
    help: str
    """A few words for `--help`."""
    file_name: str
    """The default name of the file or folder, in the run's folder."""
    write: Callable[[Path, ExportJob], Written]
    """Writes the file or folder at the given path. Raises RequestError."""
    is_folder: bool = False
    holds_unlabelled: bool = False
    """Whether its readers expect rows without a label among the others; else such rows are left out."""
    library: Library | None = None
    """The optional library that the format needs."""

    def check_installed(self) -> None:
        """Raises RequestError if the library is missing."""
        if self.library is not None:
            self.library.check(f"--format {self.name}")
