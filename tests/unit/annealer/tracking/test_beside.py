"""`icm run --track`: the real libraries where they are installed, and a tracker that fails anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import planted
from tests.finished import HEADER
from tests.icm_command import Icm, check_refused

from icm_annealer.runs.directory import JOURNAL, LABELS, METRICS, TRACKING, TRACKING_LOG, RunDir
from icm_annealer.runs.journal import Journal, read_lines
from icm_annealer.runs.schema.journal import PassLine
from icm_annealer.tracking.beside import tracked
from icm_annealer.tracking.target import Target

SMALL = ("--chains", 1, "--passes", 2)


def finalists(run: Path) -> list[tuple[int, float]]:
    """Number and U of the passes that weighed labels."""
    passes = [line for line in read_lines(run / JOURNAL) if isinstance(line, PassLine)]
    return [(line.number, line.u) for line in passes if line.request.purpose == "finalists" and line.u is not None]


@pytest.mark.parametrize("limit_s", [pytest.param(60.0, marks=pytest.mark.slow), 0.01])
def test_a_tracker_that_fails_does_not_stop_a_run(tmp_path: Path, limit_s: float) -> None:
    """It is not installed, or its place does not exist; or it takes too long."""
    notes: list[str] = []
    folder = RunDir(tmp_path)
    with tracked(folder, Target("mlflow", "nowhere://at-all"), notes.append, limit_s):
        Journal.begin(folder / JOURNAL, HEADER).close()
    assert len(notes) == 1
    assert str(folder / TRACKING_LOG) in notes[0]
    assert ("ended with code 1" in notes[0]) == (limit_s > 1)


def test_an_error_of_the_run_is_the_runs(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        tracked(RunDir(tmp_path), Target("mlflow", "nowhere://"), lambda _: None),
    ):
        raise ZeroDivisionError


def test_a_tracker_that_is_not_there_is_refused_before_anything_is_started(icm: Icm, tmp_path: Path) -> None:
    task = planted.write_task(tmp_path / "data")
    check_refused(icm("run", "--task", task, "--out", tmp_path / "run", "--track", "wandb"), 2, "mlflow[:URI]")
    assert not (tmp_path / "run").exists()


def test_mlflow(icm: Icm, url: str, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    task, uri = planted.write_task(tmp_path / "data"), f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = ["run", "--task", task, "--out", tmp_path / "run", "--scorer", url, *SMALL, "--track", f"mlflow:{uri}"]
    ended = icm(*command)
    assert ended.code == 0, ended
    assert "note: mlflow" not in ended.err, (tmp_path / "run" / TRACKING_LOG).read_text()
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("icm")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["task"] == "planted"
    history = client.get_metric_history(run.info.run_id, "finalists/u")
    assert [(metric.step, metric.value) for metric in history] == finalists(tmp_path / "run")
    assert run.data.metrics["result/u"] == json.loads((tmp_path / "run" / METRICS).read_text())["u"]
    # Going on with the run goes on with what is shown of it.
    (tmp_path / "run" / LABELS).unlink()
    icm(*command, "--resume")
    (again,) = client.search_runs([experiment.experiment_id])
    assert len(client.get_metric_history(again.info.run_id, "finalists/u")) == len(history)
    assert again.info.status == "FINISHED"


def test_trackio(icm: Icm, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    task = planted.write_task(tmp_path / "data")
    command = ["run", "--task", task, "--out", tmp_path / "run", "--scorer", url, *SMALL, "--track", "trackio:planted"]
    ended = icm(*command)
    assert ended.code == 0, ended
    assert "note: trackio" not in ended.err, (tmp_path / "run" / TRACKING_LOG).read_text()
    key = json.loads((tmp_path / "run" / TRACKING).read_text())["key"]
    logs = SQLiteStorage.get_logs("planted", key)
    shown = [(log["step"], log["finalists/u"]) for log in logs if "finalists/u" in log]
    assert shown == finalists(tmp_path / "run")
    assert logs[-1]["state"] in ("finished", "warned")
