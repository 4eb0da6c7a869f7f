"""The examples in the docstrings of public names run, on the fake engine; the import takes nothing heavy."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import icm_annealer

MODULES = sorted({module for module in icm_annealer._MODULES.values() if module.startswith("icm_annealer.")})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("name", icm_annealer.__all__)
def test_every_public_name_of_this_package_has_an_example(name: str) -> None:
    public = getattr(icm_annealer, name)
    if public.__module__.startswith("icm_annealer."):
        assert ">>> " in inspect.getdoc(public), name


def test_the_import_alone_loads_nothing() -> None:
    program = "import sys, icm_annealer; print(*sorted({'numpy', 'pydantic', 'httpx', 'rich'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "\n"
