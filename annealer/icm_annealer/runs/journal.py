"""The journal of a run: append-only lines of requests and answers, from which the search is replayed.

It holds no times or costs (they are in `costs.jsonl`), so the same answers give the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from icm_annealer.runs.journal_lines import JournalLine, Shape
from icm_annealer.runs.schema.base import Record, versioned
from icm_annealer.runs.schema.journal import EndLine, PassLine, RequestLine, RunHeader
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

if sys.platform != "win32":
    import fcntl

COMPARED = ("settings", "task", "data", "model", "window", "ids", "known", "start")
"""Header fields that must be the same when a run is resumed."""
TAIL_BYTES = 1 << 16


class JournalError(RequestError):
    """The journal cannot be continued; nothing was written."""

    code = "journal"


class Journal:
    """`journal.jsonl` of one run directory. A last line without a newline is incomplete and ignored."""

    def __init__(self, path: Path, recorded: Iterator[JournalLine], stopped_at: int | None = None):
        """`stopped_at`: where, in bytes, the lines begin that were written after the search was first stopped."""
        self._path, self._recorded, self._stopped_at = path, recorded, stopped_at
        self._next = next(recorded, None)
        self._file = path.open("ab")
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(self._file, fcntl.LOCK_SH)  # held until this process ends; see is_being_written

    @classmethod
    def begin(cls, path: Path, header: RunHeader) -> Journal:
        """A new journal; raises JournalError if there is one already."""
        if path.exists() and path.stat().st_size:
            raise JournalError(
                f"{path} already holds a run; use --resume (resume=True in Python) to continue it, or --overwrite "
                "(overwrite=True)"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = cls(path, iter(()))
        journal._write(header)
        return journal

    @classmethod
    def resume(cls, path: Path, header: RunHeader) -> Journal:
        """Opens the journal at `path` to replay and continue it; creates it if the run stopped before it existed.

        Raises JournalError if the file is damaged or has other settings, data or model; NewerFormatError if a newer
        version wrote it.
        """
        if not path.exists():
            return cls.begin(path, header)
        num_bytes, stopped_at = 0, None
        for line, end in _read(path):  # read all lines first, to find damage before doing anything
            if isinstance(line, RunHeader):
                _check_begun(path, line, header)
            elif stopped_at is None and _is_stopped(line):
                stopped_at = num_bytes
            num_bytes = end
        if not num_bytes:
            path.write_bytes(b"")
            return cls.begin(path, header)
        if path.stat().st_size > num_bytes:  # an incomplete line, written when the run was killed
            with path.open("r+b") as file:
                file.truncate(num_bytes)
        return cls(path, read_lines(path), stopped_at)

    def was_stopped(self, num_stops: int) -> bool | None:
        """Whether the search, stopped `num_stops` times before, was stopped at this point; None if nothing is recorded
        from here on."""
        if isinstance(self._next, PassLine):
            return self._next.num_stops > num_stops
        return True if self._next is not None and _is_stopped(self._next) else None

    def recorded_pass(self, request: PassRequest, num_stops: int = 0) -> PassResult | None:
        """The next recorded answer, if one is left; raises JournalError if it answers another request. If the search
        goes on where it was stopped before, what was written after that is removed."""
        if not num_stops and self._next is not None and _is_stopped(self._next):
            self._go_on()
        line = self._next
        if not isinstance(line, PassLine):
            return None
        self._next = next(self._recorded, None)
        if line.request != _request_line(request):
            raise JournalError(f"{self._path} cannot be continued: its pass {line.number} asks something else")
        return PassResult(np.array(line.logprobs), num_dropped=line.num_dropped)

    def _go_on(self) -> None:
        assert self._stopped_at is not None
        try:
            self._file.truncate(self._stopped_at)
        except OSError as error:
            raise JournalError(f"cannot write {self._path} ({error.strerror})") from None
        self._next, self._recorded = None, iter(())

    def write_pass(self, event: PassEvent) -> None:
        """Appends one answered pass; raises JournalError if that fails."""
        self._write(
            PassLine(
                number=event.number,
                u=event.u,
                predictability=event.predictability,
                num_contradictions=event.num_contradictions,
                temperature=event.request.temperature,
                label_rates=event.label_rates,
                request=_request_line(event.request),
                num_dropped=event.answer.num_dropped,
                num_stops=event.num_stops,
                logprobs=event.answer.logprobs.tolist(),
            )
        )

    def write_end(self, line: EndLine) -> bool:
        """Appends the last line, unless the journal already has it; returns whether it was appended."""
        while self._next is not None:
            if isinstance(self._next, EndLine):
                return False
            self._next = next(self._recorded, None)
        self._write(line)
        return True

    def _write(self, line: Record) -> None:
        """Appends a line and flushes it to the disk."""
        try:
            self._file.write(line.model_dump_json().encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(
                f"cannot write {self._path} ({error.strerror}); its content is valid: make room and use --resume "
                "(resume=True in Python)"
            ) from None

    def close(self) -> None:
        with contextlib.suppress(OSError):  # _write() has reported it already
            self._file.close()


def read_header(path: Path) -> RunHeader:
    """A journal's first line. Raises JournalError, or NewerFormatError if a newer version wrote it."""
    return _header(path, end_lines(path)[0])


def read_lines(path: Path) -> Iterator[JournalLine]:
    """Yields a journal's complete lines after the header one by one, since the file may be large.

    Raises JournalError if the file is missing, or naming the first damaged line.
    """
    return (line for line, _ in _read(path) if not isinstance(line, RunHeader))


def read_last(path: Path, shape: Shape) -> JournalLine | None:
    """A journal's last complete line, without reading the whole file; None if there is only the header.

    Raises JournalError if it is damaged.
    """
    first, last = end_lines(path)
    if first == last:
        return None
    try:
        return shape.line(last)
    except ValueError as error:
        raise JournalError(
            f"{path}, last line: {error}; the file was changed or damaged. Without that line, `icm resume "
            f"{path.parent}` (resume=True in Python) asks again",
            code="bad_run",
        ) from None


def end_lines(path: Path) -> tuple[bytes, bytes]:
    """A journal's first and last complete line; the same line twice if there is only one. Raises JournalError."""
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
    return first.removesuffix(b"\n"), whole[whole.rfind(b"\n") + 1 :]


def is_being_written(path: Path) -> bool:
    """Whether a process is writing this journal; always False on file systems without locks."""
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


class _Read(NamedTuple):
    line: RunHeader | JournalLine
    end: int
    """In bytes from the file's beginning."""


def _read(path: Path) -> Iterator[_Read]:
    """Yields the complete lines lazily."""
    end, shape = 0, Shape(0, 0)
    for number, content in enumerate(_whole_lines(path), start=1):
        end += len(content)
        if number == 1:
            header = _header(path, content)
            shape = Shape.of(header)
            yield _Read(header, end)
            continue
        try:
            line = shape.line(content)
        except ValueError as error:
            raise JournalError(
                f"{path}, line {number}: {error}; the file was changed or damaged. Cut it to its first {number - 1} "
                f"lines, and `icm resume {path.parent}` (resume=True in Python) asks again from there"
            ) from None
        yield _Read(line, end)


def _whole_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from None


def _header(path: Path, line: bytes) -> RunHeader:
    try:
        return versioned(RunHeader, line, str(path))
    except ValueError as error:
        raise JournalError(f"{path}, line 1: {error}; the file was changed or damaged", code="bad_run") from None


def _is_stopped(line: JournalLine) -> bool:
    """Whether the line was written after the search was stopped."""
    return line.num_stops > 0 if isinstance(line, PassLine) else line.stopped is not None


def difference(begun: RunHeader, header: RunHeader, compared: Collection[str] = COMPARED) -> str | None:
    """The first of the `compared` fields in which the header of a run differs from that of its journal, in words:
    `other settings: seed was 0, is now 1`; None if none does."""
    before, now = begun.model_dump(mode="json"), header.model_dump(mode="json")
    for key in compared:
        if before[key] != now[key]:
            what = _data_difference(begun, header) if key == "data" else _difference(before[key], now[key])
            name = f"{key} labels" if key in ("known", "start") else key
            other = "other" if name.endswith(("s", "data")) else "another"
            return f"{other} {name}: {what}"
    return None


def _check_begun(path: Path, begun: RunHeader, header: RunHeader) -> None:
    """Raises JournalError if the run's header differs from that of its journal."""
    if (found := difference(begun, header)) is not None:
        raise JournalError(f"{path} was begun with {found}")


def _request_line(request: PassRequest) -> RequestLine:
    return RequestLine(
        purpose=request.purpose,
        plan=str(request.plan),
        labels=request.labels.tolist(),
        queries="all" if len(request.queries) == len(request.labels) else request.queries.tolist(),
        order=_order_line(request.order.tolist()),
        hidden=list(request.hidden),
    )


def _order_line(order: list[int]) -> Literal["data"] | list[int]:
    return "data" if order == list(range(len(order))) else order


def _data_difference(begun: RunHeader, header: RunHeader) -> str:
    """Describes how the data differ: by the number of examples if that differs, since digests are not readable."""
    before, now = len(begun.ids), len(header.ids)
    if before == now:
        return "as many examples, not the same"
    return f"{counted(before, 'example')} then, {now:,} now"


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*new, *old]):
            if old.get(key) != new.get(key):
                return f"{key} {_difference(old.get(key), new.get(key))}"
    return f"was {_short(old)}, is now {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
