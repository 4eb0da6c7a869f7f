"""Each file is for one worker, in its order."""

from __future__ import annotations

import pytest

RAN: list[int] = []
"""The tests of this file that this process has run."""


@pytest.mark.parametrize("number", range(8))
def test_a_file_is_for_one_worker(request: pytest.FixtureRequest, number: int) -> None:
    """If tests were dealt out one by one, some of those before this one would have run in another process."""
    chosen = [item.callspec.params["number"] for item in request.session.items if item.path == request.path]
    RAN.append(number)
    assert chosen[: chosen.index(number) + 1] == RAN
