"""The command line, for all tests of the annealer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.icm_command import Icm, wait_for


@pytest.fixture
def icm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Icm:
    monkeypatch.delenv("ICM_SCORER_URL", raising=False)
    monkeypatch.delenv("ICM_API_KEY_FILE", raising=False)
    return Icm(monkeypatch, capsys)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scorer program that all tests of a process share: they only ask it."""
    ready = tmp_path_factory.mktemp("scorer") / "ready.json"
    command = [sys.executable, "-m", "icm_server.cli.app", "serve", "--engine", "fake", "--port", "0"]
    with subprocess.Popen([*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(process, ready.exists)
            yield json.loads(ready.read_text())["url"]
        finally:
            process.terminate()
