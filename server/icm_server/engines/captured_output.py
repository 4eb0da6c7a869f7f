"""Keeps the output of an engine and its processes off the terminal, and finds the cause of a failure in it. A leaf."""

from __future__ import annotations

import os
import re
import sys
import tempfile

_CAUSE = re.compile(r"(?:^|[\s\]])((?:\w+\.)*\w*(?:Error|Exception): .+)$")
_FOLLOWING = ("Engine core initialization failed", "WorkerProc initialization failed", "EngineCore encountered")
"""Errors that only report the failure of another process."""

_READ_BYTES = 256 * 1024


class CapturedOutput:
    """Redirects file descriptors 1 and 2 to an unnamed file, in child processes too, from its creation on.

    `sys.stdout` and `sys.stderr` still write to their original targets.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (open until the process ends)
        for name, number in (("stdout", 1), ("stderr", 2)):
            setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1, errors="backslashreplace"))
            os.dup2(self._file.fileno(), number)

    def cause(self) -> str | None:
        """The last error in the output that is not only the consequence of another error."""
        size = os.fstat(self._file.fileno()).st_size
        text = os.pread(self._file.fileno(), _READ_BYTES, max(0, size - _READ_BYTES)).decode(errors="replace")
        return find_cause(text)


def find_cause(text: str) -> str | None:
    """See `CapturedOutput.cause`."""
    for line in reversed(text.splitlines()):
        found = _CAUSE.search(line.rstrip())
        if found and not any(following in line for following in _FOLLOWING):
            return found[1][:400]
    return None


def explained(failure: str, cause: str | None) -> str:
    """The failure, with the cause in place of a line that only refers to it."""
    places = [failure.find(following) for following in _FOLLOWING if following in failure]
    if not places:
        return failure
    return failure[: min(places)] + (cause or "its process has ended; --verbose shows its output")
