"""Finished reads, remembered: in memory up to a limit, and in a file if one is asked for. In any thread."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence

from icm_server.read_cache.file import ReadCacheFile

ENTRY_BYTES = 224
"""What an answer takes in memory besides its values."""


def encoded(logprobs: Sequence[float]) -> bytes:
    """An answer as it is remembered: exact."""
    return array("d", logprobs).tobytes()


def decoded(answer: bytes) -> list[float]:
    """The reverse of `encoded`."""
    values = array("d")
    values.frombytes(answer)
    return values.tolist()


class ReadCache:
    """Answers by key. In memory the least recently used go first; the file keeps what memory has no room for."""

    def __init__(self, max_bytes: int, file: ReadCacheFile | None = None):
        self.max_bytes, self._file = max_bytes, file
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """From memory alone."""
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None:
                self._answers.move_to_end(key)
            return answer

    def known(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What there is of these, in memory or in the file. Blocks where there is a file."""
        found = {key: answer for key in keys if (answer := self.get(key)) is not None}
        if self._file is not None:
            stored = self._file.read([key for key in keys if key not in found])
            for key, answer in stored.items():
                self._keep(key, answer)
            found |= stored
        return found

    def remember(self, key: bytes, answer: bytes) -> None:
        """Does not wait for the file."""
        self._keep(key, answer)
        if self._file is not None:
            self._file.write(key, answer)

    def close(self) -> None:
        """Writes to the file what is not there yet."""
        if self._file is not None:
            self._file.close()

    def _keep(self, key: bytes, answer: bytes) -> None:
        with self._lock:
            if key in self._answers:
                return
            self._answers[key] = answer
            self.num_bytes += ENTRY_BYTES + len(answer)
            while self.num_bytes > self.max_bytes:
                _, oldest = self._answers.popitem(last=False)
                self.num_bytes -= ENTRY_BYTES + len(oldest)
