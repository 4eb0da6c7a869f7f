"""A run of a thousand examples stays small; `python -m tests.bench annealer-memory` tries a hundred thousand."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bench.annealer_memory import MB, peak_bytes

pytestmark = pytest.mark.slow


def test_a_run_of_a_thousand_examples_stays_small_and_loads_nothing_heavy(tmp_path: Path) -> None:
    assert peak_bytes(tmp_path, 1000, chains=2, passes=1) < 300 * MB
