"""A whole relabelling by tuning: noise goes down, kills change nothing, and the folder is read as a run's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.labelled import planted_labels
from tests.relabelled import job, run

from icm_annealer.runs.directory import JOURNAL, LABELS, RunDir
from icm_annealer.runs.record import RunRecord
from icm_client.contract.errors import RequestError
from icm_trainer.models.base_model import BaseModel
from icm_trainer.relabel.page import write_page
from icm_trainer.sft.sources import LabelOptions, read_labels


@pytest.mark.slow
def test_wrong_labels_become_fewer(tiny: BaseModel, tmp_path: Path) -> None:
    """Of 256 labels a fifth is wrong, at random; two rounds leave less than half of the mistakes."""
    figures = run(job(tiny, tmp_path / "out", 256, 256))
    gold = [row.label for row in planted_labels(256).rows]
    rows = RunRecord.read(tmp_path / "out").rows()
    assert np.mean([row.label == label for row, label in zip(rows, gold, strict=True)]) > 0.9
    assert figures.rounds[1].u > figures.rounds[0].u + 0.2
    assert figures.taken == 2
    assert figures.alarms == []


@pytest.fixture(scope="module")
def whole(tiny: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    run(job(tiny, out))
    return out


def test_the_folder_is_read_as_a_runs(whole: Path, tiny: BaseModel) -> None:
    record, start = RunRecord.read(whole), planted_labels(48, wrong=0.2)
    assert record.is_finished
    rows = record.rows()
    assert [row.id for row in rows] == [row.example.id for row in start.rows]
    again = read_labels(LabelOptions(str(whole)))
    assert [row.label for row in again.rows] == [row.label for row in rows]
    assert again.origin.run is not None
    assert again.origin.run.alarms == [alarm.line for alarm in record.alarms]
    gold = {row.example.id: row.label for row in planted_labels(48).rows}
    page = write_page(whole, gold).read_text()
    assert "labels right" in page
    assert "labels right" not in write_page(whole, {}).read_text()
    assert sorted(path.name for path in whole.iterdir() if not path.name.startswith(".")) == [
        *("examples.jsonl", "journal.jsonl", "labels.jsonl", "metrics.json", "relabelling.html", "relabelling.json"),
    ]
    lines = [json.loads(line) for line in (whole / JOURNAL).read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["start", "pass", "pass", "pass", "end"]


def test_another_relabelling_is_not_resumed_or_replaced(whole: Path, tiny: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="already holds a run; use --resume"):
        job(tiny, whole).prepare()
    with pytest.raises(RequestError, match="start"):
        run(job(tiny, whole, num_labelled=33), resume=True)
    before = (whole / LABELS).read_bytes()
    job(tiny, whole).prepare(overwrite=True)
    RunDir(whole).release()  # it does not begin
    assert (whole / LABELS).read_bytes() == before
    with pytest.raises(RequestError, match="there is no run to resume"):
        job(tiny, tmp_path / "none").prepare(resume=True)


@pytest.mark.slow
def test_kills_at_every_stage_change_no_byte(whole: Path, tiny: BaseModel, tmp_path: Path) -> None:
    """Killed in the training on a batch, at its end, and in two models of the rounds."""
    out = tmp_path / "out"
    events = ["10", "32", "50", "60"]
    program = [sys.executable, "-m", "tests.relabelled", str(tiny.folder), str(out), *events]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for name in (JOURNAL, LABELS, "metrics.json", "relabelling.json", "examples.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
