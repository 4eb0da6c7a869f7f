"""Locks, so that only one process writes a run's folder, or one file at a time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from icm_client.contract.errors import RequestError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""A separate file, since `--overwrite` removes the others. Readers test the journal's lock instead (see
`is_being_written`), since testing this one could block a writer."""
_held: dict[tuple[int, int], int] = {}
"""The open lock files of this process, by device and inode."""


def hold(folder: Path) -> None:
    """Locks `folder` for this process until it ends. Does nothing if this process already holds the lock.

    Raises RequestError if another process holds the lock. On file systems without locks it never raises.
    """
    if sys.platform == "win32":
        return
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    state = os.fstat(lock)
    if (state.st_dev, state.st_ino) in _held:
        os.close(lock)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RequestError(
            f"{folder}: another process is writing there; wait for its end, stop it, or use another folder",
            code="run_busy",
        ) from None
    except OSError:  # a file system without locks
        os.close(lock)
        return
    _held[state.st_dev, state.st_ino] = lock  # keeps the file open


def is_held(folder: Path) -> bool:
    """Whether this process holds the lock on `folder`; always False on file systems without locks."""
    try:
        state = (folder / LOCK).stat()
    except OSError:
        return False
    return (state.st_dev, state.st_ino) in _held


def release(folder: Path) -> None:
    """Releases the lock on `folder`; does nothing if this process does not hold it."""
    try:
        state = (folder / LOCK).stat()
    except OSError:
        return
    lock = _held.pop((state.st_dev, state.st_ino), None)
    if lock is not None:
        os.close(lock)


@contextlib.contextmanager
def held_open(file: BinaryIO) -> Iterator[None]:
    """Holds the lock on an open file; waits until no other process does. Does nothing on systems without locks."""
    if sys.platform == "win32":
        yield
        return
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
