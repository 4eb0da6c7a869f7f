"""Each file is for one worker, in its order."""

from __future__ import annotations

import pytest

ran: list[int] = []
"""The tests of this file that this process has run."""


@pytest.mark.parametrize("number", range(8))
def test_a_file_is_for_one_worker(number: int) -> None:
    """If tests were dealt out one by one, some of those before this one would have run in another process."""
    ran.append(number)
    assert ran == list(range(number + 1))
