"""Recognises files that are databases of finished reads by their first bytes. It changes nothing and does not block. A
leaf.

A file of another program may be named by mistake. It is rejected, never written to or moved.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from icm_client.contract.errors import RequestError

APPLICATION_ID = 0x49434D52
VERSION = 1
_MAGIC = b"SQLite format 3\0"
_ID_PLACE, _VERSION_PLACE = slice(68, 72), slice(60, 64)
_BESIDE = ("-journal", "-wal")


def is_ours(path: Path) -> bool:
    """Whether the file is marked as such a database, intact or damaged. Raises OSError."""
    return _says_so(_begin(path))


def check_ours(path: Path) -> None:
    """Raises RequestError unless the file is such a database, or is empty or missing, so that one can be created."""
    try:
        begin = _begin(path)
    except FileNotFoundError:
        begin = b""
        if not path.parent.is_dir():
            raise _unusable(path, "no such folder") from None
    except OSError as error:
        raise _unusable(path, error.strerror or type(error).__name__) from None
    if begin and not _says_so(begin):
        raise _unusable(path, "it belongs to another program, or is damaged; it was not changed")
    if begin and int.from_bytes(begin[_VERSION_PLACE], "big") != VERSION:
        raise _unusable(path, "it was made by another version of icm-server")
    for name in (f"{path.name}{end}" for end in _BESIDE):
        if not begin and _size(path.with_name(name)):
            raise _unusable(path, f"{name} is there without its database: remove it if you do not need it")


def _says_so(begin: bytes) -> bool:
    return begin.startswith(_MAGIC) and begin[_ID_PLACE] == APPLICATION_ID.to_bytes(4, "big")


def _begin(path: Path) -> bytes:
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(0, "it is no file")
        return os.read(number, 100)
    finally:
        os.close(number)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unusable(path: Path, reason: str) -> RequestError:
    return RequestError(
        f"cannot use {path} for the read cache: {reason}",
        code="read_cache_file",
    )
