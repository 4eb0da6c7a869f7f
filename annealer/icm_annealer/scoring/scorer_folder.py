"""The temporary folder of a started scorer, with its ready file and its log. A leaf."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX = "icm-scorer-"
LOCK = "lock"
"""Locked while the process that owns the folder lives; the kernel releases the lock when it ends."""


@contextlib.contextmanager
def scorer_folder() -> Iterator[Path]:
    """A temporary folder, removed at the end of the context. Folders of this user's killed processes are removed
    first."""
    if sys.platform != "win32":
        for left_over in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            _remove_if_left(left_over)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        if sys.platform == "win32":
            yield Path(folder)
            return
        partial = Path(folder, f"{LOCK}.partial")
        lock = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: the folder is never removed as stale
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.rename(Path(folder, LOCK))  # only now, so that it never appears unlocked
            yield Path(folder)
        finally:
            os.close(lock)


def _remove_if_left(folder: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
            return
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return  # no lock file: an older version's folder, or one being created
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # its process is alive
    finally:
        os.close(lock)
