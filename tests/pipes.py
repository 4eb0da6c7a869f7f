"""Pipes as shells give them to programs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def piped(content: bytes, sizes: list[int]) -> Iterator[str]:
    """The path of a pipe, as process substitution gives it, that is filled in pieces of these sizes."""
    reading, writing = os.pipe()

    def fill() -> None:
        with contextlib.suppress(BrokenPipeError), open(writing, "wb", buffering=0) as file:
            start, number = 0, 0
            while start < len(content):
                size = sizes[number % len(sizes)]
                start += file.write(content[start : start + size])
                number += 1

    writer = threading.Thread(target=fill)
    writer.start()
    try:
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
        writer.join()
