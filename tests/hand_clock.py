"""A clock whose time a test sets."""

from __future__ import annotations


class HandClock:
    """Call it for the time in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
