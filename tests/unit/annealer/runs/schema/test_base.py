"""Files are read through their models: newer ones are refused, and what does not fit is named in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from tests.finished import HEADER

from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.metrics import FIGURES
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.schema.base import NewerFormatError, Versioned, parsed_as, read_file, versioned
from icm_annealer.runs.schema.evaluation import FIGURE_NAMES
from icm_annealer.runs.schema.journal import RunHeader
from icm_annealer.runs.schema.metrics import DemoResults
from icm_annealer.runs.schema.rows import CostLine
from icm_annealer.runs.schema.state import RescoreState
from icm_client import RequestError

NUMBERS = st.floats(allow_infinity=False)


class Notes(Versioned):
    """A file."""

    format: int = 3
    best: Estimate
    texts: list[str] = Field(default_factory=list)


@given(NUMBERS, NUMBERS, NUMBERS, st.lists(st.text()))
def test_a_file_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, value: float, low: float, high: float, texts: list[str]
) -> None:
    folder = RunDir(tmp_path_factory.mktemp("notes"))
    path = folder.write("notes.json", Notes(best=Estimate(value, low, high), texts=texts))
    again = read_file(path, Notes)
    assert again is not None
    assert again.texts == texts
    for one, other in zip((value, low, high), (again.best.value, again.best.low, again.best.high), strict=True):
        assert one == other or (math.isnan(one) and math.isnan(other))
    assert json.loads(path.read_text())["format"] == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"format": 3}', "best: Field required"),
        ('{"format": 2, "best": null}', "format: 2 is not 3"),
        ('{"format": "3", "best": null}', "format: 3 is not 3"),
        ('{"best": {"value": "1", "low": 0, "high": 1}}', "best.value: Input should be a valid number"),
        ('{"best": {"value": 1e999, "low": 0, "high": 1}}', "best.value: not a finite number"),
        ('{"best": {"value": 1, "low": 0, "high": 1}, "texts": ["\\ud800"]}', "Invalid JSON"),
        ("[" * 5000, "Invalid JSON"),
        ("\ufeff{", "Invalid JSON"),
        ("", "Invalid JSON"),
        ("7", "Input should be an object"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "notes.json"
    path.write_text(content)
    with pytest.raises(RequestError) as raised:
        read_file(path, Notes)
    assert raised.value.code == "bad_run"
    assert raised.value.message.startswith(f"{path}: ")
    assert says in raised.value.message
    assert "\n" not in raised.value.message


def test_a_newer_file_is_refused_even_if_it_would_fit(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text('{"format": 4, "best": {"value": 1, "low": 0, "high": 1}}')
    with pytest.raises(NewerFormatError) as raised:
        read_file(path, Notes)
    assert raised.value.message == (
        f"{path} was written by a newer version (format 4; this one reads 3): upgrade this program"
    )


def test_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_file(tmp_path / "notes.json", Notes) is None
    with pytest.raises(RequestError, match="Is a directory"):
        read_file(tmp_path, Notes)


def test_a_header_comes_back_without_the_gold_field() -> None:
    header = HEADER.model_copy(update={"task": HEADER.task.model_copy(update={"gold": "label", "notes": "mine"})})
    again = versioned(RunHeader, header.model_dump_json(), "journal")
    assert (again.task.gold, again.task.notes) == (None, "")
    assert again.task.seen() == HEADER.task.seen()
    assert again.settings == HEADER.settings


def test_settings_of_a_search_that_is_not_installed_are_kept() -> None:
    line = json.loads(HEADER.model_dump_json())
    line["settings"] |= {"search": "theirs", "theirs": {"depth": 3}}
    again = versioned(RunHeader, json.dumps(line), "journal")
    assert again.settings.model_dump()["theirs"] == {"depth": 3}


def test_a_cost_is_a_usage_with_its_pass() -> None:
    cost = CostLine(number=7, seconds=1.5, waited=1.0, computed_tokens=3)
    assert json.loads(cost.model_dump_json())["pass"] == 7
    assert parsed_cost(cost) == cost


def parsed_cost(cost: CostLine) -> CostLine:
    return CostLine.model_validate_json(cost.model_dump_json())


def test_seeds_of_a_demo_have_its_methods() -> None:
    demo = DemoResults(task="t", model=HEADER.model, settings=HEADER.settings)
    assert parsed_as(DemoResults, demo.model_dump_json()) == demo
    assert parsed_as(RescoreState, '{"first": [[-1.0]], "again": null}').again is None


def test_the_figures_of_a_file_are_those_that_are_computed() -> None:
    assert tuple(FIGURES) == FIGURE_NAMES
