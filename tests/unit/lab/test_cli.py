"""`icm lab` and `icm reproduce`, as they are typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from icm_annealer.cli.app import app
from icm_client.contract.errors import RequestError
from icm_lab.tasks import TASKS


def test_figures_that_tune_models_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    answer = CliRunner().invoke(app, ["reproduce", "--figure", "7"])
    assert isinstance(answer.exception, RequestError)
    assert "icm reproduce needs its library: " in answer.exception.message


def test_worlds_are_listed() -> None:
    answer = CliRunner().invoke(app, ["lab", "worlds"])
    assert answer.exit_code == 0, answer.output
    assert "misconceptions" in answer.output
    assert "belief 45%" in answer.output


def test_tasks_are_written_where_one_says(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["lab", "tasks", "--out", str(tmp_path)])
    assert answer.exit_code == 0, answer.output
    for task in TASKS:
        file = yaml.safe_load((tmp_path / task.name / "task.yaml").read_text())
        assert file["name"] == task.name
        assert file["separator"] == "\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lab", "train", "huge", "--out", "x"], "no size 'huge'; known: small, medium, large"),
        (["lab", "examine", "huge"], "no size 'huge'"),
        (["reproduce", "--figure", "11"], "no figure '11'; known: 3, 4"),
        (["reproduce", "--on", "lab-huge"], "no figure is of the model 'lab-huge'; known: smollm2-135m, lab-large"),
        (["reproduce", "--figure", "5", "--on", "lab-small"], "no claim of figure 5 is on lab-small alone"),
    ],
)
def test_what_is_not_there_is_an_error(words: list[str], says: str) -> None:
    answer = CliRunner().invoke(app, words)
    assert isinstance(answer.exception, RequestError)
    assert says in answer.exception.message
