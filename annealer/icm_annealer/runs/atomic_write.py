"""Writes files and folders atomically. A leaf."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from icm_annealer.data.columnar import SAVED_DATASET
from icm_client.contract.errors import RequestError


def check_place(out: Path, *, overwrite: bool, is_folder: bool) -> None:
    """Checks, before any work is done, that `out` can be written. Raises RequestError.

    Only folders that hold a saved dataset are replaced.
    """
    check_writable(out)
    if out.is_dir() and not (is_folder and any((out / name).is_file() for name in SAVED_DATASET)):
        raise RequestError(f"{out} is a folder" + ("" if is_folder else "; name the file to write"))
    if is_folder and out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file; name a folder to write")
    if out.exists() and not overwrite:
        raise RequestError(f"{out} is there already; use --overwrite to replace it, or another --out")


def make_folder(folder: Path) -> None:
    """Creates the folder if it is missing. Raises RequestError if it cannot be created or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{folder}: cannot be made: {error.strerror}", code="run_folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"{folder}: nothing may be written there", code="run_folder")


def check_writable(out: Path) -> None:
    """Creates the parent folder of `out`, and tests it with a temporary file, named like that of `write_whole`.

    Raises RequestError for a name that is too long, a full disk, missing permissions, or a device or a pipe, which the
    file would replace, before any work is done.
    """
    make_folder(out.parent)
    partial = _partial(out)
    _remove(partial)  # left by a killed process
    try:
        if out.exists() and not (out.is_file() or out.is_dir()):
            raise RequestError(f"{out} is a device or a pipe, not a file: use another --out (out= in Python)")
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise RequestError(f"cannot write {out}: {error.strerror or error}", code="run_folder") from None


def _partial(out: Path) -> Path:
    return out.parent / f".{out.name}.partial"


def write_whole(out: Path, write: Callable[[Path], object], code: str = "export") -> None:
    """Calls `write` with a temporary path beside `out`, then renames the file or folder written there to `out`.

    Raises RequestError with this code if that fails; `out` is then unchanged.
    """
    partial, old = _partial(out), out.parent / f".{out.name}.old"
    _remove(partial)
    try:
        write(partial)
        if partial.is_dir():
            if out.exists():
                _remove(old)
                out.rename(old)
            partial.rename(out)
            _remove(old)
        else:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(out)
    except OSError as error:
        raise RequestError(f"cannot write {out}: {error.strerror or error}", code=code) from None
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # if it cannot be removed, writing reports an error
            path.unlink()
