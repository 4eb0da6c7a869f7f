"""The names under which runs are counted that were given none."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_annealer.runs.experiment import own_experiment
from icm_client import ScoreRequest


def test_a_run_has_a_name_of_its_own_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = own_experiment(tmp_path / "runs/first")
    assert here.startswith("default-first-")
    assert own_experiment(tmp_path / "other/first") != here
    monkeypatch.chdir(tmp_path)
    assert own_experiment(Path("runs/first")) == here


@pytest.mark.parametrize("name", ["größer als/50 %", "x" * 500, "\udcff", "..", "-"])
def test_whatever_a_folder_is_called_the_name_is_one_that_scorers_take(name: str) -> None:
    request = ScoreRequest(prompts=["a"], labels=[" x"], experiment=own_experiment(Path("runs"), name))
    assert request.experiment.isascii()
