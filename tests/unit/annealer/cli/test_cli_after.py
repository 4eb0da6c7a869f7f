"""What comes after a search, by the command line, against a scorer program with the fake engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests import planted
from tests.icm_command import Icm, check_refused, succeed

from icm_annealer.data.rows import read_rows
from icm_annealer.runs.directory import EVALUATION, EXAMPLES, JOURNAL, LABELS, METRICS, REPORT, STARTED
from icm_annealer.runs.journal import Journal, read_header
from icm_annealer.runs.record import RunRecord


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    """A folder with a task and its data (data/), and a finished run of half of them (runs/first)."""
    folder = tmp_path_factory.mktemp("made")
    task = planted.write_task(folder / "data", 48)
    command = ["run", "--task", task, "--first", 24, "--scorer", url, "--out", folder / "runs" / "first"]
    succeed(*command)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of that run, for tests that write into it."""
    return Path(shutil.copytree(made / "runs" / "first", tmp_path / "first"))


def test_runs_are_listed(icm: Icm, made: Path, run: Path) -> None:
    ended = icm("runs", made / "runs")
    assert ended.code == 0
    header, line = ended.out.splitlines()
    assert header.split() == ["run", "task", "state", "verdict", "U", "examples", "labels", "tokens", "written"]
    assert line.split()[:2] == ["first", "planted"]
    verdict = RunRecord.read(made / "runs" / "first").verdict
    assert verdict is not None
    assert verdict.words in line
    assert "24" in line
    assert "hot" in line
    journal = run / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]))
    broken = run.parent / "deep" / "broken"
    broken.mkdir(parents=True)
    (broken / JOURNAL).write_text("{}\n")
    out = icm("runs", run.parent).out
    assert "stopped" in out
    assert "deep/broken" in out
    assert "unreadable" in out
    held = Journal.resume(journal, read_header(journal))
    assert "running" in icm("runs", run.parent).out
    held.close()
    assert "running" not in icm("runs", run.parent).out


def test_no_runs(icm: Icm, tmp_path: Path) -> None:
    assert "holds no run" in icm("runs", tmp_path).err
    check_refused(icm("runs", tmp_path / "nowhere"), 2, "nowhere", "icm runs FOLDER")


@pytest.mark.parametrize("name", [JOURNAL, METRICS])
@pytest.mark.parametrize("command", [("report",), ("export", "--format", "csv")])
def test_a_run_of_a_newer_version_is_refused(icm: Icm, run: Path, name: str, command: tuple[str, ...]) -> None:
    text = (run / name).read_text()
    for spaces in ("", " "):
        text = text.replace(f'"format":{spaces}1', f'"format":{spaces}2', 1)
    (run / name).write_text(text)
    says = f"{run / name} was written by a newer version (format 2; this one reads 1): upgrade"
    first, *options = command
    if name == METRICS and first == "export":  # which needs no metrics
        assert icm(first, run, *options).code == 0
    else:
        check_refused(icm(first, run, *options), 2, says)
    assert "newer version" in icm("runs", run.parent).out


@pytest.mark.slow
def test_a_report_of_one_and_of_several(icm: Icm, run: Path, made: Path, tmp_path: Path) -> None:
    ended = icm("report", run)
    assert ended.code == 0
    assert ended.out.strip() == str(run / REPORT)
    assert (run / REPORT).read_text().lower().startswith("\n<!doctype html") or "<!doctype html" in (
        run / REPORT
    ).read_text()
    assert icm("report", run).code == 0  # its own page is made again
    (run / REPORT).write_text("<p>my own")
    check_refused(icm("report", run), 2, "not a page of this program", "--overwrite")
    assert (run / REPORT).read_text() == "<p>my own"
    ended = icm("report", run, "--overwrite", "--figures", tmp_path / "figures")
    assert "u-by-pass" in ended.out
    assert {path.suffix for path in (tmp_path / "figures").glob("u-by-pass.*")} == {".pdf", ".png", ".svg"}
    page = tmp_path / "both.html"
    assert icm("report", run, made / "runs" / "first", "--out", page).code == 0
    assert "2 runs side by side" in page.read_text()
    check_refused(icm("report", tmp_path / "nowhere", "--out", tmp_path / "x.html"), 2, "holds no run")
    check_refused(icm("report", run, "--out", tmp_path), 2, "is a folder")
    check_refused(icm("report", run, "--out", run / LABELS / "x.html"), 2, "cannot write")


def test_an_evaluation_by_the_runs_own_data(icm: Icm, run: Path, made: Path, url: str) -> None:
    task, data = made / "data" / "task.yaml", made / "data" / "data.jsonl"
    ended = icm("eval", run, "--task", task, "--data", data, "--scorer", url)
    assert ended.code == 0, ended
    evaluation = json.loads((run / EVALUATION).read_text())
    assert (evaluation["num_examples"], evaluation["num_test"]) == (24, 24)
    assert set(evaluation["figures"]) == {"zero_shot", "icm", "gold"}
    certainty = evaluation["certainty"]
    assert certainty["num"] == 24
    assert certainty["risks"][-1]["risk"]["value"] == pytest.approx(1 - evaluation["label_accuracy"]["value"])
    assert "wrong among them" in ended.out
    gold = evaluation["figures"]["gold"]["raw"]["accuracy"]
    assert gold["low"] <= gold["value"] <= gold["high"]
    assert f"{gold['value']:.3f} [{gold['low']:.3f}, {gold['high']:.3f}]" in ended.out
    assert str(run / EVALUATION) in ended.out.replace("\n", "")
    assert icm("report", run, "--overwrite").code == 0
    assert "Test accuracy on unseen examples" in (run / REPORT).read_text()
    # The run tells where its task lay, which names its data itself.
    assert icm("eval", run, "--scorer", url, "--seeds", 2, "--test-size", 8).code == 0
    assert len(json.loads((run / EVALUATION).read_text())["seeds"]) == 2


def test_an_evaluation_on_a_file_of_its_own(icm: Icm, run: Path, made: Path, url: str, tmp_path: Path) -> None:
    """Its ids are those of labelled examples, its texts are not, but for one."""
    seen = {json.loads(line)["fields"]["words"] for line in (run / EXAMPLES).read_text().splitlines()}
    rows = [row for row in planted.rows(60, seed=9) if row["words"] not in seen][:20]
    planted.write_rows(tmp_path / "test.jsonl", [*rows, {"id": "again", "words": next(iter(seen)), "label": "hot"}])
    bare = shutil.copy(made / "data" / "task.yaml", tmp_path / "task.yaml")  # here its data are not beside it
    ended = icm("eval", run, "--task", made / "data" / "task.yaml", "--test", tmp_path / "test.jsonl", "--scorer", url)
    assert ended.code == 0, ended
    assert json.loads((run / EVALUATION).read_text())["num_test"] == len(rows)
    check_refused(icm("eval", run, "--task", bare, "--scorer", url), 2, "data.jsonl")


def test_an_evaluation_says_what_it_lacks(icm: Icm, run: Path, made: Path, url: str, tmp_path: Path) -> None:
    data = made / "data" / "data.jsonl"
    (run / STARTED).unlink()
    check_refused(icm("eval", run, "--scorer", url), 2, "gold field is not known", "--task")
    everything = icm("eval", run, "--task", made / "data" / "task.yaml", "--test", run / EXAMPLES, "--scorer", url)
    check_refused(everything, 2, "examples.jsonl")
    planted.write_rows(tmp_path / "seen.jsonl", [json.loads(line) for line in data.read_text().splitlines()][:24])
    nothing = icm(
        "eval", run, "--task", made / "data" / "task.yaml", "--test", tmp_path / "seen.jsonl", "--scorer", url
    )
    check_refused(nothing, 2, "nothing to test on", "all 24 examples", "--test")
    (run / LABELS).unlink()
    check_refused(icm("eval", run, "--task", made / "data" / "task.yaml", "--scorer", url), 2, "icm resume")


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "sft", "hf", "cleanlab", "label-studio"])
def test_exports_need_nothing_but_the_run(icm: Icm, run: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    ended = icm("export", run, "--format", form, "--out", out, "--top", 5)
    assert ended.code == 0, ended
    assert f"5 rows (19 of 24 left out as uncertain): {out}" in ended.out
    assert out.exists()
    check_refused(icm("export", run, "--format", form, "--out", out), 2, "--overwrite")
    assert icm("export", run, "--format", form, "--out", out, "--overwrite").code == 0
    assert icm("export", run, "--format", form).code == 0  # into the run's folder
    assert bool(ended.err) == (form in ("cleanlab", "label-studio"))  # which have more to say


def uncertain(run: Path, num: int) -> tuple[float, list[str]]:
    """A probability that the certainty of so many labels is below, and the ids of the others."""
    rows = sorted(RunRecord.read(run).rows(), key=lambda row: row.certainty)
    below = (rows[num - 1].certainty + rows[num].certainty) / 2
    return below, [row.id for row in RunRecord.read(run).rows() if row.certainty >= below]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_tables_keep_rows_whose_label_is_too_uncertain(icm: Icm, run: Path, tmp_path: Path, form: str) -> None:
    below, kept = uncertain(run, 7)
    out = tmp_path / f"out.{form}"
    ended = icm("export", run, "--format", form, "--out", out, "--abstain-below", below)
    assert f"24 rows (7 without a label, as uncertain): {out}" in ended.out
    rows = [row.value for row in read_rows(out)]
    assert [row["id"] for row in rows if row["label"]] == kept
    assert all((float(row["certainty"]) >= below) == bool(row["label"]) for row in rows)
    assert len(rows) == 24


@pytest.mark.parametrize("form", ["sft", "cleanlab"])
def test_labels_for_training_are_certain_ones(icm: Icm, run: Path, tmp_path: Path, form: str) -> None:
    below, kept = uncertain(run, 7)
    out = tmp_path / "out"
    ended = icm("export", run, "--format", form, "--out", out, "--abstain-below", below)
    assert f"17 rows (7 of 24 left out as uncertain): {out}" in ended.out
    ended = icm("export", run, "--format", form, "--out", out, "--abstain-below", below, "--top", 20, "--overwrite")
    assert f"17 rows (7 of 24 left out as uncertain): {out}" in ended.out
    if form == "cleanlab":
        assert np.load(out, allow_pickle=False)["ids"].tolist() == kept


def test_a_corrected_label_is_exported_however_uncertain_it_was(icm: Icm, run: Path, tmp_path: Path) -> None:
    below, kept = uncertain(run, 7)
    rows = [json.loads(line) for line in (run / LABELS).read_text().splitlines()]
    corrected = next(row for row in rows if row["id"] not in kept)
    corrected["label"] = {"hot": "cool", "cool": "hot"}[corrected["label"]]
    planted.write_rows(run / LABELS, rows)
    out = tmp_path / "out.jsonl"
    assert icm("export", run, "--format", "jsonl", "--out", out, "--abstain-below", below).code == 0
    written = {row.value["id"]: row.value for row in read_rows(out)}
    assert written[corrected["id"]]["label"] == corrected["label"]
    assert sum(row["label"] is not None for row in written.values()) == 18


def test_exports_of_responses(icm: Icm, run: Path, tmp_path: Path) -> None:
    check_refused(icm("export", run, "--format", "dpo"), 2, "--response")
    ended = icm("export", run, "--format", "kto", "--response", "words", "--prompt", "Say:", "--better", "cool")
    assert ended.code == 0, ended
    assert "'cool' means that it is good" in ended.err
    rows = [json.loads(line) for line in (run / "kto.jsonl").read_text().splitlines()]
    assert len(rows) == 24
    assert all(list(row) == ["prompt", "completion", "label"] for row in rows)


def test_exports_of_what_is_no_finished_run(icm: Icm, run: Path, made: Path, tmp_path: Path) -> None:
    check_refused(icm("export", tmp_path / "nowhere", "--format", "sft"), 2, "holds no run")
    check_refused(icm("export", made / "runs", "--format", "sft"), 2, "its folders first do")
    check_refused(icm("export", run, "--format", "sft", "--abstain-below", 1), 2, "leaves no label: the highest")
    check_refused(icm("export", run, "--format", "sft", "--abstain-below", "nan"), 2, "--abstain-below")
    check_refused(icm("export", run, "--format", "sft", "--abstain-below", 80), 2, "--abstain-below")
    assert not (run / "sft.jsonl").exists()
    (run / EXAMPLES).unlink()
    check_refused(icm("export", run, "--format", "sft"), 2, "--data")
    options = ["--data", made / "data" / "data.jsonl", "--task", made / "data" / "task.yaml"]
    assert icm("export", run, "--format", "sft", *options).code == 0


@pytest.mark.slow
def test_a_demo_is_reported_from_its_folder(icm: Icm, url: str, tmp_path: Path) -> None:
    """The same page that the demo itself wrote, but for a gold that a task of one's own does not give away."""
    out = tmp_path / "demo"
    command = ["demo", "--scorer", url, "--examples", 12, "--test-size", 8, "--seeds", 2, "--out", out]
    assert icm(*command).code == 0
    written = (out / REPORT).read_text()
    assert icm("report", out, "--overwrite").code == 0
    assert (out / REPORT).read_text() == written
    assert "Seed 1" in written
    assert "share of right labels" in written
    listed = icm("runs", out).out
    assert "seed-0" in listed
    assert "seed-1" in listed
