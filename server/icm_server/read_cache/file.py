"""Finished reads in an SQLite file that outlives the process. It may lose answers, but returns no wrong ones.

A separate thread writes in batches. Errors are logged and lose only the answers concerned. A damaged file of this kind
is moved aside and replaced; while the disk is full, nothing is added.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeGuard

from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted
from icm_server.read_cache.own_database import APPLICATION_ID, VERSION, check_ours, is_ours

log = logging.getLogger("icm_server")

CHECK_BYTES = 8
READ_BATCH = 500
WRITE_BATCH = 2_000
WRITE_EVERY_S = 0.5
MAX_WAITING = 100_000
"""The most answers in the write queue; on a disk that is slower than the engine, more are dropped."""
MAX_ASIDE = 5
"""The most damaged files that are kept."""

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, answer BLOB NOT NULL);
COMMIT;
"""
"""Set in one transaction, before there is a write-ahead log, so that an interrupted file still identifies itself."""
SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA journal_size_limit = 8388608;
"""


class ReadCacheFile:
    """Answers by key, from any thread. Above `max_bytes`, those written first are deleted."""

    def __init__(self, path: Path, max_bytes: int):
        # Resolve links: a damaged file is moved aside, not the link to it.
        self._path, self._max_bytes = path.resolve(), max_bytes
        self._database: sqlite3.Connection | None = None
        self._known: tuple[int, int] | None = None
        """Identifies the opened file: it belongs to this program, whatever its content is now."""
        self._opened = False
        self._lock = threading.Lock()
        self._waiting: queue.Queue[tuple[bytes, bytes] | None] = queue.Queue(MAX_WAITING)
        self._writer: threading.Thread | None = None
        self._trouble = ""

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The file's answers for these keys."""
        found: dict[bytes, object] = {}
        for start in range(0, len(keys), READ_BATCH):
            self._try(partial(_select, keys[start : start + READ_BATCH], found))
        answers = {key: row[:-CHECK_BYTES] for key, row in found.items() if _is_sound(row, key)}
        if len(answers) < len(found):
            damaged = counted(len(found) - len(answers), "damaged result")
            self._warn(f"{damaged} in {self._path} will be computed again")
        return answers

    def write(self, key: bytes, answer: bytes) -> None:
        """Queues the answer without blocking."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="read-cache-file", daemon=True)
            self._writer.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((key, answer))

    def close(self) -> None:
        """Writes the queued answers."""
        if self._writer is not None:
            self._waiting.put(None)
            self._writer.join()
            self._writer = None
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database, self._opened = None, False

    def _write_all(self) -> None:
        ended = False
        while not ended:
            batch = [self._waiting.get()]
            until = time.monotonic() + WRITE_EVERY_S
            with contextlib.suppress(queue.Empty):
                while batch[-1] is not None and len(batch) < WRITE_BATCH:
                    batch.append(self._waiting.get(timeout=max(0.0, until - time.monotonic())))
            ended = batch[-1] is None
            entries = [(entry[0], _checked(*entry)) for entry in batch if entry is not None]
            if entries and self._try(partial(_insert, entries, self._max_bytes)):
                self._trouble = ""

    def _try(self, action: Callable[[sqlite3.Connection], None]) -> bool:
        """Runs the action and returns whether it succeeded. One thread at a time. Errors of the file do not
        propagate."""
        with self._lock:
            try:
                if not self._opened:
                    self._opened = True
                    self._begin()
                if self._database is None:
                    return False
                action(self._database)
                return True
            except (OSError, RequestError) as error:
                self._warn(f"no read cache file: {error}")
                return False
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
                    self._replace(str(error))
                else:
                    self._warn(f"the read cache file {self._path} cannot be used now: {error}")
                return False

    def _begin(self) -> None:
        """Raises RequestError if the file belongs to another program."""
        check_ours(self._path)
        self._database = _open(self._path)
        self._known = _place(self._path)

    def _replace(self, reason: str) -> None:
        """Moves a damaged file aside, and creates a new one if possible."""
        if self._database is not None:
            self._database.close()
        self._database = None
        try:
            if _place(self._path) != self._known and not is_ours(self._path):
                self._warn(
                    f"the read cache file is no longer used: {self._path} now belongs to another program ({reason})"
                )
                return
            aside = _claimed(self._path)
            if aside is None:
                self._warn(f"the read cache file is no longer used: {self._path} is damaged ({reason}), as others were")
                return
            for end in ("-wal", "-shm"):
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)
            self._path.replace(aside)
            self._warn(
                f"the read cache file {self._path} is damaged ({reason}): moved to {aside.name}, and a new one created"
            )
            self._begin()
        except (OSError, RequestError, sqlite3.Error) as error:
            self._warn(f"the read cache file is no longer used: {error}")

    def _warn(self, trouble: str) -> None:
        """Logs a problem once, until it changes."""
        if trouble != self._trouble:
            log.warning("%s", trouble)
        self._trouble = trouble


def _place(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _claimed(path: Path) -> Path | None:
    """Creates a new empty file, to be replaced by the damaged one; None if there are enough of these."""
    for number in range(1, MAX_ASIDE + 1):
        aside = path.with_name(f"{path.name}.damaged{number if number > 1 else ''}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            return aside
    return None


def _open(path: Path) -> sqlite3.Connection:
    """Raises RequestError if the file turns out to belong to another program."""
    database = sqlite3.connect(path, timeout=2.0, check_same_thread=False)
    try:
        found = tuple(
            database.execute(question).fetchone()[0]
            for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) > 0 FROM sqlite_schema")
        )
        if found == (0, 0, 0):
            database.executescript(SCHEMA)
        elif found != (APPLICATION_ID, VERSION, 1):
            raise RequestError(f"{path} belongs to another program", code="read_cache_file")
        database.executescript(SETTINGS)
    except BaseException:
        database.close()
        raise
    return database


def _select(keys: Sequence[bytes], found: dict[bytes, object], database: sqlite3.Connection) -> None:
    marks = ",".join("?" * len(keys))
    found.update(database.execute(f"SELECT key, answer FROM answers WHERE key IN ({marks})", keys).fetchall())


def _insert(entries: list[tuple[bytes, bytes]], max_bytes: int, database: sqlite3.Connection) -> None:
    with database:
        database.executemany("INSERT OR IGNORE INTO answers (key, answer) VALUES (?, ?)", entries)
    while _used_bytes(database) > max_bytes:
        first, last = database.execute("SELECT min(number), max(number) FROM answers").fetchone()
        if first is None:
            break
        with database:
            database.execute("DELETE FROM answers WHERE number <= ?", (first + (last - first) // 8,))
    database.execute("PRAGMA incremental_vacuum").fetchall()


def _checked(key: bytes, answer: bytes) -> bytes:
    """The answer followed by a checksum: SQLite does not detect a damaged value."""
    return answer + hashlib.blake2b(key + answer, digest_size=CHECK_BYTES).digest()


def _is_sound(row: object, key: bytes) -> TypeGuard[bytes]:
    return isinstance(row, bytes) and row == _checked(key, row[:-CHECK_BYTES])


def _used_bytes(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
