"""One process at a time writes a run's folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from icm_client.contract.errors import RequestError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
"""A file of its own, since `--overwrite` removes the others. Who only reads looks at the journal's lock (see
`is_being_written`): a look at this one might keep a writer out."""
_held: dict[tuple[int, int], int] = {}
"""The open files of the locks that this process has, by device and inode."""


def hold(folder: Path) -> None:
    """Keeps other processes from writing in `folder` until this one ends, however it does; twice is as good as once.

    Raises RequestError if another process writes there; never so where files cannot be locked.
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
            f"{folder}: another process is writing there; wait for its end, stop it, or give another --out",
            code="run_busy",
        ) from None
    except OSError:  # a file system without locks
        os.close(lock)
        return
    _held[state.st_dev, state.st_ino] = lock  # and the file stays open


def release(folder: Path) -> None:
    """Lets other processes write in `folder` again; does nothing if this one does not hold it."""
    try:
        state = (folder / LOCK).stat()
    except OSError:
        return
    lock = _held.pop((state.st_dev, state.st_ino), None)
    if lock is not None:
        os.close(lock)
