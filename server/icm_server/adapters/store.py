"""The folder in which a scorer keeps the adapters that were put, also over a restart.

Each adapter is a folder with a number for its name: its two files, and `entry.json`, which says whose it is. That file
is written last and removed first, so a folder without it is what an interruption has left, and is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pydantic
from pydantic import BaseModel, ConfigDict

from icm_client.contract.adapters import AdapterName
from icm_client.contract.errors import RequestError

MARK = ".icm-adapters"
"""The file that marks such a folder, and is locked while a scorer uses it."""
FORMAT = 1
ENTRY = "entry.json"
MAX_ENTRY_BYTES = 4096
_PARTIAL = "partial-"


class Entry(BaseModel):
    """Whose adapter a folder holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: str | None
    """The tenant; None for all."""
    name: AdapterName
    digest: str


class Stored(NamedTuple):
    """One kept adapter."""

    number: int
    folder: Path
    entry: Entry


class Store:
    """One scorer's folder; all methods block. Create it with `open`."""

    def __init__(self, path: Path, lock: int, entries: list[Stored], last: int):
        self._path, self._lock, self.entries, self._last = path, lock, entries, last

    @classmethod
    def open(cls, path: Path) -> Store:
        """Makes the folder if there is none. Raises RequestError for one that holds anything else, or that another
        scorer uses."""
        path = path.expanduser().absolute()
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            if not (path / MARK).exists() and any(path.iterdir()):
                raise _unusable(path, "it holds other files; give an empty folder, or one that does not exist")
            lock = os.open(path / MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                _claim(lock, path)
                return cls(path, lock, *_tidied(path))
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise _unusable(path, error.strerror or type(error).__name__) from None

    def partial(self) -> Path:
        """A new empty folder for an adapter that is arriving."""
        with _on_disk():
            return Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._path))

    def place(self, partial: Path) -> tuple[int, Path]:
        """Gives a complete adapter its number and its place, where it is still nobody's."""
        self._last += 1
        with _on_disk():
            return self._last, partial.rename(self._path / str(self._last))

    def next_number(self) -> int:
        """A number that no adapter has had, for one that is not kept here."""
        self._last += 1
        return self._last

    def commit(self, folder: Path, entry: Entry) -> None:
        """From now on the adapter is kept."""
        partial = folder / f".{ENTRY}"
        with _on_disk():
            with partial.open("x", encoding="utf-8") as file:
                file.write(json.dumps({"format": FORMAT} | entry.model_dump()))
                file.flush()
                os.fsync(file.fileno())
            partial.rename(folder / ENTRY)
            for each in (folder, self._path):
                _sync(each)

    def forget(self, folder: Path) -> None:
        """The adapter will not be there after a restart; its files stay until `remove`."""
        with _on_disk():
            (folder / ENTRY).unlink(missing_ok=True)
            _sync(folder)

    def remove(self, folder: Path) -> None:
        """Removes a folder that nothing reads any more."""
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Releases the folder for another scorer."""
        os.close(self._lock)


@contextlib.contextmanager
def _on_disk() -> Iterator[None]:
    """Raises RequestError for what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"the scorer cannot write to its adapter store ({error.strerror})", code="adapters_full", status=409
        ) from None


def _claim(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _unusable(path, "another scorer uses it") from None
    mark = f"icm adapters, format {FORMAT}\n".encode()
    found = os.pread(lock, len(mark) + 1, 0)
    if found and found != mark:
        raise _unusable(path, "it was made by another version of icm-server")
    os.pwrite(lock, mark, 0)


def _tidied(path: Path) -> tuple[list[Stored], int]:
    """The kept adapters, the newest of each name, and the highest number; everything else is removed."""
    newest: dict[tuple[str | None, str], Stored] = {}
    last = 0
    for folder in sorted(path.iterdir(), key=lambda each: (len(each.name), each.name)):
        if not folder.name.isdecimal():
            if folder.name.startswith(_PARTIAL):
                shutil.rmtree(folder, ignore_errors=True)
            continue
        last = max(last, int(folder.name))
        entry = _entry(folder / ENTRY)
        if entry is None:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if (older := newest.get((entry.owner, entry.name))) is not None:
            shutil.rmtree(older.folder, ignore_errors=True)
        newest[entry.owner, entry.name] = Stored(int(folder.name), folder, entry)
    return sorted(newest.values()), last


def _entry(path: Path) -> Entry | None:
    """None if there is none, or it is damaged."""
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(MAX_ENTRY_BYTES))
        return Entry.model_validate({name: value for name, value in fields.items() if name != "format"})
    except (OSError, ValueError, AttributeError, RecursionError, pydantic.ValidationError):
        return None


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _unusable(path: Path, reason: str) -> RequestError:
    return RequestError(f"cannot keep adapters in {path}: {reason}", code="adapter_store")
