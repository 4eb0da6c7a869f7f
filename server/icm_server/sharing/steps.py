"""Long work in short steps: between two of them it can be left for ever, or others can have their turn. A leaf."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

_Result = TypeVar("_Result")

Steps = Generator[None, None, _Result]
"""Work that yields at least every few thousand items or characters, and returns its result."""

STEP_ITEMS = 2000
"""So many small things (texts, nodes, reads) are done between two yields: some milliseconds."""


def finished(steps: Steps[_Result]) -> _Result:
    """The work's result, all steps taken now. Raises what they raise."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result
