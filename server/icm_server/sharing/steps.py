"""Long work in short steps: between two steps it can be cancelled, or other work can run. A leaf."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

_Result = TypeVar("_Result")

Steps = Generator[None, None, _Result]
"""Work that yields at least every few thousand items or characters, and returns its result."""

STEP_ITEMS = 2000
"""Small items (texts, nodes, reads) processed between two yields: a few milliseconds."""


def finished(steps: Steps[_Result]) -> _Result:
    """Runs all steps now and returns the result. Raises what they raise."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
