"""A run directory: the files of one run, written atomically."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from icm_annealer.runs.atomic_write import check_place, check_writable, write_whole
from icm_annealer.runs.lock import LOCK, hold, is_held, release
from icm_annealer.runs.schema.base import Record, Versioned
from icm_annealer.runs.set_aside import drop, put_back, set_aside
from icm_client.contract.errors import RequestError

JOURNAL, COSTS, LABELS = "journal.jsonl", "costs.jsonl", "labels.jsonl"
LABELS_BEFORE = "labels.before.jsonl"
"""The labels of a search that was stopped at its budget and went on; some may have been corrected."""
EXAMPLES, METRICS, DEMO, EVALUATION = "examples.jsonl", "metrics.json", "demo.json", "eval.json"
REPORT, SCORER_LOG = "report.html", "scorer.log"
RESCORE, TRACKING, TRACKING_LOG = "rescore.json", "tracking.json", "tracking.log"
STARTED = "started.json"
SKIPPED = "skipped.jsonl"
REVIEW = "review.jsonl"
"""Decisions of people, which no other file holds: it is not removed with a run."""
OUR_FILES = (
    JOURNAL,
    COSTS,
    LABELS,
    LABELS_BEFORE,
    EXAMPLES,
    METRICS,
    DEMO,
    EVALUATION,
    REPORT,
    SCORER_LOG,
    RESCORE,
    STARTED,
    TRACKING,
    TRACKING_LOG,
    SKIPPED,
)
RESULTS = (LABELS, EXAMPLES, METRICS, DEMO, EVALUATION, REPORT, RESCORE, SKIPPED)
"""Files that belong to a run only if its journal is there."""
LONGEST_NAME = max(OUR_FILES, key=len)


def check_result(out: Path, *, overwrite: bool, is_folder: bool = False, reads: Iterable[Path | str] = ()) -> None:
    """Checks, before any work is done, that a result can be written to `out`. Raises RequestError, also for one of the
    files that the command reads, and for a file of a run, neither of which `overwrite` replaces. A run's page is made
    of its other files, so it may be replaced."""
    check_place(out, overwrite=overwrite, is_folder=is_folder)
    if out.name in OUR_FILES and out.name != REPORT and (out.parent / JOURNAL).is_file():
        raise RequestError(f"{out} is a file of the run in {out.parent}: use another --out (out= in Python)")
    for source in reads:
        with contextlib.suppress(OSError):  # no file, or none yet
            if os.path.samefile(source, out):
                raise RequestError(f"{out} is what this command reads: use another --out (out= in Python)")


class RunDir:
    """One run's folder."""

    def __init__(self, path: Path):
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def prepare(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Prepares the folder and locks it for this process until the process ends.

        Raises RequestError if another process holds the lock, if the folder holds a run and neither option is set, if
        a run would be replaced whose labels were reviewed, or if there is no run to resume.

        `overwrite` replaces only files that runs write. They are kept until `begun` is called, and put back if the lock
        is released before, or if the next process that prepares the folder still finds them.
        """
        try:
            if self.path.exists() and not self.path.is_dir():
                raise RequestError(f"{self.path} is a file, not a folder for a run", code="run_exists")
            if resume and not self.path.exists():
                raise RequestError(f"{self.path}: there is no run to resume", code="no_run")
            self.path.mkdir(parents=True, exist_ok=True)
            hold(self.path)  # before anything is moved
            put_back(self.path)
            if (self / JOURNAL).exists() and not resume and not overwrite:
                raise RequestError(
                    f"{self.path} already holds a run; use --resume (resume=True in Python) to continue it, "
                    "--overwrite (overwrite=True) to replace it, or another --out (out=)",
                    code="run_exists",
                )
            if (self / REVIEW).exists() and not resume:
                raise RequestError(
                    f"{self / REVIEW} holds decisions of people about the labels of a run here: move the file away, or "
                    "use another --out (out= in Python)",
                    code="run_exists",
                )
            others = (
                [] if overwrite or (self / JOURNAL).exists() else [name for name in RESULTS if (self / name).exists()]
            )
            if others:
                raise RequestError(
                    f"{self.path} holds {others[0]} of something else, which would be replaced; use another --out "
                    "(out= in Python), or --overwrite (overwrite=True)",
                    code="run_exists",
                )
            if overwrite and not resume:
                set_aside(self.path, OUR_FILES)
        except OSError as error:
            raise RequestError(f"{self.path}: {error.strerror}", code="run_folder") from None
        check_writable(self / LONGEST_NAME)

    def begun(self) -> None:
        """Removes what this run replaces."""
        drop(self.path)

    def remove(self) -> None:
        """Removes a run, and its folder if it is then empty. Raises RequestError if another process writes there."""
        self.prepare(overwrite=True)
        self.begun()
        (self / LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def forget(self) -> None:
        """Removes a run without answers, puts back what it was to replace, and removes its folder if it is then empty.
        It is not if the log of a scorer that failed to start is there."""
        for name in (JOURNAL, EXAMPLES, COSTS, SKIPPED, STARTED):
            (self / name).unlink(missing_ok=True)
        self.release()
        if {path.name for path in self.path.iterdir()} <= {LOCK}:
            (self / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def release(self) -> None:
        """Releases the lock on the folder, and puts back what a run that has not begun was to replace. Does nothing if
        another process holds the lock."""
        if is_held(self.path):
            put_back(self.path)
        release(self.path)

    def write_text(self, name: str, text: str) -> Path:
        """Writes a file atomically."""
        write_whole(self / name, lambda place: place.write_text(text, encoding="utf-8"), code="run_folder")
        return self / name

    def write(self, name: str, value: Versioned) -> Path:
        """Writes a JSON file from its model."""
        return self.write_text(name, value.model_dump_json(indent=2) + "\n")

    def write_rows(self, name: str, rows: Iterable[Record]) -> Path:
        """Writes JSON lines from their models."""
        return self.write_jsonl(name, (row.model_dump() for row in rows))

    def write_json(self, name: str, value: object) -> Path:
        return self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_jsonl(self, name: str, rows: Iterable[Mapping[str, object]]) -> Path:
        def write(place: Path) -> None:
            with place.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

        write_whole(self / name, write, code="run_folder")
        return self / name
