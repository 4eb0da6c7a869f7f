"""The file that tells the program that started a scorer its URL. A leaf.

It is written atomically, and replaces only a file that a scorer wrote.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from icm_client.contract.errors import RequestError

_MAX_BYTES = 4096


def check_ready_file(path: Path) -> None:
    """Raises RequestError if it cannot be written: the folder is missing, or another file is there."""
    if not path.parent.is_dir():
        raise RequestError(f"cannot write the ready file {path}: no such folder")
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RequestError(f"cannot write the ready file {path}: {error.strerror}") from None
    try:
        is_file = stat.S_ISREG(os.fstat(number).st_mode)
        content = os.read(number, _MAX_BYTES) if is_file else b""
    finally:
        os.close(number)
    if not is_file or (content and not _is_ready(content)):
        raise RequestError(f"{path} is not a scorer's ready file: remove it, or choose another path")


def write_ready_file(path: Path, url: str) -> None:
    """Raises OSError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    number = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(number, "w", encoding="utf-8") as file:
            file.write(json.dumps({"url": url}) + "\n")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _is_ready(content: bytes) -> bool:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() == {"url"}
