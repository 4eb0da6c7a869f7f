"""`review.jsonl` of a run's folder: decisions of people, appended one by one, by any number of processes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from icm_annealer.runs.lock import held_open
from icm_annealer.runs.schema.base import versioned
from icm_annealer.runs.schema.review import Decision
from icm_annealer.runs.schema.rows import LabelRow
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted


class ReviewFile:
    """The decisions in one file about examples with these ids, for labels with these names. They are read as the file
    grows; a last line without its end is incomplete and ignored. Not thread-safe."""

    def __init__(self, path: Path, ids: Collection[str], labels: Collection[str]):
        self.path, self._ids, self._labels = path, ids, labels
        self._start_over()

    def _start_over(self) -> None:
        self._inode, self._num_bytes, self._num_lines = -1, 0, 0
        self._last: dict[str, Decision] = {}
        self._nums: Counter[str] = Counter()

    def read(self) -> dict[str, Decision]:
        """The last decision by example id, without those taken back. Raises RequestError naming an invalid line."""
        try:
            with self.path.open("rb") as file:
                self._read(file)
        except FileNotFoundError:
            self._start_over()
        except OSError as error:
            raise RequestError(f"{self.path}: {error.strerror}", code="bad_run") from None
        return {name: decision for name, decision in self._last.items() if decision.label is not None}

    def num_of(self, name: str) -> int:
        """How many lines about this example have been read."""
        return self._nums[name]

    def append(self, decision: Decision, num_before: int) -> bool:
        """Writes a decision to the disk, unless the file has another number of lines about its example than
        `num_before`; returns whether it was written. Raises RequestError if that fails."""
        try:
            # Not "ab", since an incomplete line, of a process that was killed, is overwritten.
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file, held_open(file):
                self._read(file)
                if self.num_of(decision.id) != num_before:
                    return False
                file.truncate(self._num_bytes)
                file.seek(self._num_bytes)
                file.write(decision.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                self._read(file)
        except OSError as error:
            raise RequestError(f"cannot write {self.path}: {error.strerror}", code="run_folder") from None
        return True

    def _read(self, file: BinaryIO) -> None:
        """Reads what was added since; all again if the file was replaced or cut."""
        state = os.fstat(file.fileno())
        if state.st_ino != self._inode or state.st_size < self._num_bytes:
            self._start_over()
            self._inode = state.st_ino
        file.seek(self._num_bytes)
        for line in file:
            if not line.endswith(b"\n"):
                break
            self._num_lines += 1
            decision = self._decision(line)
            self._last[decision.id] = decision
            self._nums[decision.id] += 1
            self._num_bytes += len(line)

    def _decision(self, line: bytes) -> Decision:
        where = f"{self.path}, line {self._num_lines}"
        try:
            decision = versioned(Decision, line, where)
            if decision.id not in self._ids:
                raise ValueError(f"no example of the run has the id {decision.id!r}")
            if not {decision.label, decision.was} - {None} <= set(self._labels):
                raise ValueError(f"{decision.label!r} or {decision.was!r} is no label of the run")
            return decision
        except ValueError as error:
            self._start_over()
            raise RequestError(f"{where}: {error}; the file was changed: remove the line", code="bad_data") from None


class Decided(NamedTuple):
    """How many labels of a run people decided."""

    num_accepted: int
    num_changed: int
    num_superseded: int
    """Rows that were edited in `labels.jsonl` after a review had given them another label."""
    num_rows: int

    @classmethod
    def of(cls, rows: Sequence[LabelRow]) -> Self:
        return cls(
            sum(row.is_accepted for row in rows),
            sum(row.is_changed for row in rows),
            sum(row.is_superseded for row in rows),
            len(rows),
        )

    @property
    def num(self) -> int:
        return self.num_accepted + self.num_changed

    @property
    def is_any(self) -> bool:
        """Whether there is anything to report."""
        return bool(self.num or self.num_superseded)

    def __str__(self) -> str:
        labels = f"of {counted(self.num_rows, 'label')}"
        decided = counted(self.num, f"{labels} was decided", f"{labels} were decided")
        text = f"{decided} by a person: {self.num_accepted:,} as found, {self.num_changed:,} changed"
        if self.num_superseded:
            edited = counted(self.num_superseded, "label was edited after its", "labels were edited after their")
            text += f"; {edited} review, and the edit in labels.jsonl is used (`icm review` shows them)"
        return text
