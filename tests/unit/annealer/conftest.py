"""The command line, for all tests of the annealer."""

from __future__ import annotations

import pytest
from tests.icm_command import Icm


@pytest.fixture
def icm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Icm:
    monkeypatch.delenv("ICM_SCORER_URL", raising=False)
    monkeypatch.delenv("ICM_API_KEY_FILE", raising=False)
    return Icm(monkeypatch, capsys)
