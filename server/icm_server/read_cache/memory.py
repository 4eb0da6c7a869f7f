"""A cache of finished reads: in memory up to a limit, and optionally in a file. Thread-safe."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence

from icm_server.read_cache.file import ReadCacheFile

ENTRY_BYTES = 224
"""Memory of a cached answer besides its values."""


def encoded(logprobs: Sequence[float]) -> bytes:
    """An answer as it is stored, without loss."""
    return array("d", logprobs).tobytes()


def decoded(answer: bytes) -> list[float]:
    """The inverse of `encoded`."""
    values = array("d")
    values.frombytes(answer)
    return values.tolist()


class ReadCache:
    """Answers by key. Memory evicts the least recently used; evicted answers remain in the file."""

    def __init__(self, max_bytes: int, file: ReadCacheFile | None = None):
        self.max_bytes, self._file = max_bytes, file
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """Looks in memory only."""
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None:
                self._answers.move_to_end(key)
            return answer

    def known(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The cached answers for these keys, from memory or the file. Blocks if there is a file."""
        found = {key: answer for key in keys if (answer := self.get(key)) is not None}
        if self._file is not None:
            stored = self._file.read([key for key in keys if key not in found])
            for key, answer in stored.items():
                self._keep(key, answer)
            found |= stored
        return found

    def remember(self, key: bytes, answer: bytes) -> None:
        """Stores the answer, without waiting for the file."""
        self._keep(key, answer)
        if self._file is not None:
            self._file.write(key, answer)

    def close(self) -> None:
        """Writes queued answers to the file."""
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
