"""The journal is the run: append-only lines of what was decided and answered, from which a run is told again.

It holds no times and no costs (those are in `costs.jsonl`), so the same answers give the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.data.json_text import parsed
from icm_annealer.runs.journal_lines import Shape
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_client.contract.errors import RequestError

if sys.platform != "win32":
    import fcntl

FORMAT = 1
ADDED = ("window",)
"""Keys of the first line that journals of this format did not always have."""
TAIL_BYTES = 1 << 16


class JournalError(RequestError):
    """The journal cannot be continued; nothing was written."""

    code = "journal"


class Journal:
    """`journal.jsonl` of one run directory. A line counts once it ends in a newline; a cut last line does not."""

    def __init__(self, path: Path, recorded: Iterator[dict[str, Any]]):
        self._path, self._recorded = path, recorded
        self._next = next(recorded, None)
        self._file = path.open("ab")
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(self._file, fcntl.LOCK_SH)  # for as long as this process lives; see is_being_written

    @classmethod
    def begin(cls, path: Path, header: dict[str, Any]) -> Journal:
        """A new journal; raises JournalError if there is one already."""
        if path.exists() and path.stat().st_size:
            raise JournalError(f"{path} already holds a run; use --resume to go on with it, or --overwrite")
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = cls(path, iter(()))
        journal.write({"kind": "start", "format": FORMAT, **header})
        return journal

    @classmethod
    def resume(cls, path: Path, header: dict[str, Any]) -> Journal:
        """The journal at `path`, to be told again and then continued; begun, if the run was stopped before it was.

        Raises JournalError if the file is broken, or was begun with other settings, data or model.
        """
        if not path.exists():
            return cls.begin(path, header)
        shape = Shape(len(header.get("ids", ())), len(header.get("task", {}).get("labels", ())))
        num_bytes = 0
        for line in _lines(path):  # all of them, so that a broken one is found before anything is done
            if line.number == 1:
                _check_begun(path, line.value, header)
            else:
                _check(path, line, shape)
            num_bytes = line.end
        if not num_bytes:
            return cls.begin(_emptied(path), header)
        if path.stat().st_size > num_bytes:  # the line that was being written when the run was killed
            with path.open("r+b") as file:
                file.truncate(num_bytes)
        return cls(path, (line.value for line in _lines(path) if line.number > 1))

    def recorded_pass(self, request: PassRequest) -> PassResult | None:
        """The next recorded answer, if one is left; raises JournalError if it answers another question."""
        line = self._next
        if line is None or line.get("kind") != "pass":
            return None
        self._next = next(self._recorded, None)
        if line["request"] != _request_line(request):
            raise JournalError(f"{self._path} cannot be continued: its pass {line['number']} asks something else")
        return PassResult(np.array(line["logprobs"]), num_dropped=line["num_dropped"])

    def write_pass(self, number: int, request: PassRequest, answer: PassResult, facts: dict[str, Any]) -> None:
        """One answered pass. `facts` are for readers; the search is told only the answer."""
        self.write(
            {
                "kind": "pass",
                "number": number,
                **facts,
                "request": _request_line(request),
                "num_dropped": answer.num_dropped,
                "logprobs": answer.logprobs.tolist(),
            }
        )

    def write_end(self, line: dict[str, Any]) -> bool:
        """The last line, unless the journal already has it; returns whether it was written."""
        while self._next is not None:
            if self._next.get("kind") == "end":
                return False
            self._next = next(self._recorded, None)
        self.write({"kind": "end", **line})
        return True

    def write(self, line: dict[str, Any]) -> None:
        """Appends a line and sees it to the disk; raises JournalError if that fails."""
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(
                f"cannot write {self._path} ({error.strerror}); what stands there is valid: make room and use --resume"
            ) from None

    def close(self) -> None:
        with contextlib.suppress(OSError):  # write() has told it already
            self._file.close()


def read_passes(path: Path, shape: Shape) -> Iterator[dict[str, Any]]:
    """The answered passes of a run of this shape; raises JournalError as `read_journal` does, and for lines that are
    not as they were written."""
    for line in _lines(path):
        if line.number > 1:
            _check(path, line, shape)
            if line.value["kind"] == "pass":
                yield line.value


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal, one after the other: all of them together may be large.

    Raises JournalError if it is missing, or at a broken line.
    """
    return (line.value for line in _lines(path))


def read_ends(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A journal's first and last whole line, however long it is; raises JournalError as `read_journal` does."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            size, tail, length = file.seek(0, os.SEEK_END), b"", TAIL_BYTES
            while tail.count(b"\n") < 2 and len(tail) < size:
                file.seek(max(0, size - length))
                tail, length = file.read(), 2 * length
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from None
    if not first.endswith(b"\n"):
        raise JournalError(f"{path}: holds no whole line")
    whole = tail[: tail.rfind(b"\n")]
    return _parsed(first, f"{path}, line 1"), _parsed(whole[whole.rfind(b"\n") + 1 :], f"{path}, last line")


def is_being_written(path: Path) -> bool:
    """Whether a process that writes this journal is alive; never so where files cannot be locked."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class _Line(NamedTuple):
    number: int
    value: dict[str, Any]
    end: int
    """In bytes from the file's beginning."""


def _check_begun(path: Path, first: dict[str, Any], header: dict[str, Any]) -> None:
    """Raises JournalError if a run that began with this line is not to be continued with this header."""
    if first.get("kind") != "start" or first.get("format") != FORMAT:
        raise JournalError(f"{path} is not a journal of this version")
    for key, value in json.loads(json.dumps(header)).items():
        if key not in first and key in ADDED:
            continue  # an older version did not write it down; it is taken to be the same
        if first.get(key) != value:
            told = _data_difference(first, header) if key == "data" else _difference(first.get(key), value)
            other = "other" if key.endswith(("s", "data")) else "another"
            raise JournalError(f"{path} was begun with {other} {key}: {told}")


def _check(path: Path, line: _Line, shape: Shape) -> None:
    try:
        shape.check(line.value)
    except ValueError as error:
        raise JournalError(
            f"{path}, line {line.number}: {error}; the file was changed or damaged. Cut it to its first "
            f"{line.number - 1} lines, and `icm run ... --resume` asks again from there"
        ) from None


def _lines(path: Path) -> Iterator[_Line]:
    """The whole lines, each read when it is wanted."""
    try:
        with path.open("rb") as file:
            end = 0
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    end += len(line)
                    yield _Line(number, _parsed(line, f"{path}, line {number}"), end)
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from None


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = parsed(line.decode())
    except ValueError:
        raise JournalError(f"{where}: not valid JSON; the file was changed or damaged") from None
    if not isinstance(value, dict):
        raise JournalError(f"{where}: not a journal line")
    return value


def _emptied(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _request_line(request: PassRequest) -> dict[str, Any]:
    return {
        "purpose": request.purpose,
        "plan": str(request.plan),
        "labels": request.labels.tolist(),
        "queries": "all" if len(request.queries) == len(request.labels) else request.queries.tolist(),
        "order": _order_line(request.order.tolist()),
    }


def _order_line(order: Sequence[int]) -> Any:
    return "data" if order == list(range(len(order))) else order


def _data_difference(begun: dict[str, Any], header: dict[str, Any]) -> str:
    """Digests say nothing to people: the number of examples, if that is what differs."""
    before, now = (len(ids) if isinstance(ids := one.get("ids"), list) else 0 for one in (begun, header))
    if before == now:
        return "as many examples, not the same"
    return f"{before:,} examples then, {now:,} now"


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new:
            if old.get(key) != new[key]:
                return f"{key} {_difference(old.get(key), new[key])}"
    return f"was {_short(old)}, is now {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
