"""What an export format is."""

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
    """What is exported."""

    task: Task
    labelled: Sequence[Labelled]
    """At least one; those that abstain only for a format that holds unlabelled rows."""
    model_version: str
    suffix: str
    """How the name of the file to write ends."""
    read: Callable[[], Reading]
    """How examples are read as responses; called by formats that need to know. Raises RequestError."""
    raw: bool = False
    """Whether a CSV holds texts as they are, also those that a spreadsheet would calculate."""


class Written(NamedTuple):
    """How many rows were written, and what a person should know of them."""

    num_rows: int
    notes: list[str]


@dataclass(frozen=True)
class ExportFormat:
    """One format."""

    name: str
    """As `--format` takes it."""
    help: str
    """A few words for `--help`."""
    file_name: str
    """Of what is written, in the run's folder, if the user names nothing else."""
    write: Callable[[Path, ExportJob], Written]
    """Makes a file, or a folder, at the path that it is given. Raises RequestError."""
    is_folder: bool = False
    holds_unlabelled: bool = False
    """Whether its readers expect rows without a label among the others; else such rows are left out."""
    library: Library | None = None
    """What it needs of an extra."""

    def check_installed(self) -> None:
        """Raises RequestError if its library is missing."""
        if self.library is not None:
            self.library.check(f"--format {self.name}")
