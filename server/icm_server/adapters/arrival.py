"""An adapter on its way onto the scorer's disk: sent by a client, or copied from a folder."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE
from icm_client.contract.errors import RequestError
from icm_server.adapters.room import Place

FILES = (CONFIG_FILE, WEIGHTS_FILE)
COPIED_BYTES = 2**22
MAX_DEPTH = 64


class Arrival:
    """The files of one adapter in `folder`, which is empty at first. Its methods block."""

    def __init__(self, folder: Path, place: Place):
        self.folder, self.place = folder, place
        self._files: dict[str, BinaryIO] = {}
        self._open = ExitStack()

    def begin(self, name: str) -> None:
        """Begins a file. Raises RequestError for one that an adapter does not have, and for one that has come."""
        if name not in FILES:
            raise RequestError(
                f"an adapter has the files {CONFIG_FILE} and {WEIGHTS_FILE}, not {name[:100]!r}: peft writes them "
                "with save_pretrained (a pickle, .bin or .pt, can run code, so it is never read)",
                code="bad_adapter",
            )
        if name in self._files:
            raise RequestError(f"{name} was sent twice", code="bad_adapter")
        self._files[name] = self._open.enter_context((self.folder / name).open("xb"))

    def write(self, name: str, piece: bytes) -> None:
        """Adds to a file that has begun. Raises TooLargeError, or RequestError if there is no room."""
        self.place.add(len(piece))
        try:
            self._files[name].write(piece)
        except OSError as error:
            raise _not_written(error) from None

    def end(self) -> None:
        """Ends all files. Raises RequestError if one is missing."""
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            self._open.close()
        except OSError as error:
            raise _not_written(error) from None
        for name in FILES:
            if name not in self._files:
                raise RequestError(f"the adapter's {name} is missing", code="bad_adapter")

    def close(self) -> None:
        """Closes the files, complete or not."""
        self._open.close()

    def copy(self, root: Path, folder: str) -> None:
        """Copies an adapter from a folder below `root`, following no links. Raises RequestError, TooLargeError."""
        parts = PurePosixPath(folder).parts
        if not parts or folder.startswith("/") or ".." in parts or "\0" in folder or len(parts) > MAX_DEPTH:
            raise _no_folder(folder, "give a path below the scorer's adapter folder, without '..'")
        with ExitStack() as held:
            try:
                at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                held.callback(os.close, at)
                for part in parts:
                    at = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                    held.callback(os.close, at)
            except OSError as error:
                raise _no_folder(folder, error.strerror or "it cannot be opened") from None
            for name in FILES:
                self._copy_file(name, at, folder)
        self.end()

    def _copy_file(self, name: str, folder: int, shown: str) -> None:
        try:
            number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            raise _no_folder(shown, f"{name}: {error.strerror}") from None
        with open(number, "rb") as source:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise _no_folder(shown, f"{name} is not a regular file")
            self.begin(name)
            while piece := source.read(COPIED_BYTES):
                self.write(name, piece)


def _no_folder(folder: str, reason: str) -> RequestError:
    return RequestError(f"cannot read an adapter from {folder[:200]!r}: {reason}", code="no_adapter_folder")


def _not_written(error: OSError) -> RequestError:
    return RequestError(
        f"the scorer cannot write the adapter to its disk ({error.strerror})", code="adapters_full", status=409
    )
