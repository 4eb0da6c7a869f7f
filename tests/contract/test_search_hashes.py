"""What a few searches request, journal and find has not changed; `python -m tests.search_hashes` compares all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import search_hashes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("search", ["blocks", "official", "bootstrap"])
def test_a_search_has_not_changed(search: str, tmp_path: Path) -> None:
    task = search_hashes.write_task(tmp_path / "task", search_hashes.RULES, 24)
    found = search_hashes.searched(tmp_path, task, "--search", search, "--seed", "3")
    assert found == search_hashes.kept()[f"rules: {search}"], "if on purpose: python -m tests.search_hashes --keep"
