"""Known labels, label rates and start labels, from the command line to the files of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused

import icm_annealer as icm_api
from icm_client import RequestError

NUM = 16
QUICK = ("--search", "growing")


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def header(run: Path) -> Any:
    return lines(run / "journal.jsonl")[0]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return planted.write_task(tmp_path / "data", NUM)


@pytest.fixture
def run(task: Path, url: str, tmp_path: Path) -> tuple[object, ...]:
    return ("run", "--task", task, "--scorer", url, "--out", tmp_path / "run")


def test_known_labels_of_a_file_stay_and_are_marked(
    icm: Icm, run: tuple[object, ...], task: Path, url: str, tmp_path: Path
) -> None:
    known = tmp_path / "known.csv"
    known.write_text("id,label\nrow-0,cool\nrow-1,hot\n", encoding="utf-8")  # both wrong
    assert icm(*run, *QUICK, "--known", known).code == 0
    rows = {row["id"]: row for row in lines(tmp_path / "run/labels.jsonl")}
    assert {name: row["label"] for name, row in rows.items() if row.get("known")} == {"row-0": "cool", "row-1": "hot"}
    assert sum("known" in row for row in rows.values()) == 2
    assert header(tmp_path / "run")["known"] == {"row-0": "cool", "row-1": "hot"}
    assert json.loads((tmp_path / "run/metrics.json").read_text())["num_known"] == 2
    assert icm(*run, *QUICK, "--known", known, "--resume").code == 0
    says = "was begun with other known labels: was"
    check_refused(icm(*run, *QUICK, "--resume"), 2, says)
    known.write_text("id,label\nrow-0,cool\nrow-1,cool\n", encoding="utf-8")
    check_refused(icm(*run, *QUICK, "--known", known, "--resume"), 2, 'known labels: row-1 was "hot", is now "cool"')
    # A whole labels.jsonl is a file of known labels too.
    again = ("run", "--task", task, "--scorer", url, "--out", tmp_path / "again", *QUICK)
    assert icm(*again, "--known", tmp_path / "run/labels.jsonl").code == 0
    assert len(header(tmp_path / "again")["known"]) == NUM


def test_known_labels_that_are_left_out_are_no_part_of_the_run(
    icm: Icm, run: tuple[object, ...], task: Path, tmp_path: Path
) -> None:
    ids = [row["id"] for row in lines(task.parent / "data.jsonl")]
    known = tmp_path / "known.csv"
    known.write_text(f"id,label\n{ids[0]},hot\n{ids[-1]},hot\n", encoding="utf-8")
    assert icm(*run, *QUICK, "--known", known, "--first", 8).code == 0
    assert header(tmp_path / "run")["known"] == {ids[0]: "hot"}


def test_a_run_without_them_says_nothing_of_them(icm: Icm, run: tuple[object, ...], tmp_path: Path) -> None:
    assert icm(*run, *QUICK).code == 0
    begun = header(tmp_path / "run")
    assert begun["known"] is begun["start"] is None
    assert "rates" not in begun["task"]
    assert not any("known" in row for row in lines(tmp_path / "run/labels.jsonl"))


def test_rates_of_the_option_replace_the_tasks(icm: Icm, run: tuple[object, ...], task: Path, tmp_path: Path) -> None:
    task.write_text(planted.TASK + "rates: {hot: 0.75}\n", encoding="utf-8")
    assert icm(*run, *QUICK).code == 0
    labels = [row["label"] for row in lines(tmp_path / "run/labels.jsonl")]
    assert labels.count("hot") == 12
    assert header(tmp_path / "run")["task"]["rates"] == {"hot": [0.75, 0.75]}
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["stated_rates"] == {"hot": [0.75, 0.75]}
    changed = ("--rates", "hot=0.25,cool=0.5-0.8")
    check_refused(icm(*run, *QUICK, *changed, "--resume"), 2, "was begun with another task: rates hot was [0.75, 0.75]")
    assert icm(*run, *QUICK, *changed, "--overwrite").code == 0
    assert [row["label"] for row in lines(tmp_path / "run/labels.jsonl")].count("hot") == 4
    assert icm(*run, *QUICK, "--rates", "none", "--overwrite").code == 0
    assert "rates" not in header(tmp_path / "run")["task"]
    assert icm("report", tmp_path / "run").code == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--rates", "hot"), "--rates 'hot': write LABEL=SHARE"),
        (("--rates", "warm=0.1"), "rates: 'warm' is none of the task's labels (hot, cool)"),
        (("--rates", "hot=0.01"), "'hot' at 0.01 of 16 examples is 0.16 of an example"),
        (("--rates", "hot=0.1", "--search", "official"), "the search official cannot respect label rates"),
        (("--known", "nowhere.csv"), "nowhere.csv"),
        (("--search", "known_shots"), "the search known_shots needs known labels"),
        (("--from", "nowhere"), "nowhere holds no run"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    options: tuple[str, ...], says: str, icm: Icm, run: tuple[object, ...], tmp_path: Path
) -> None:
    check_refused(icm(*run, *options), 2, says)
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_the_corrected_labels_of_another(
    icm: Icm, run: tuple[object, ...], task: Path, url: str, tmp_path: Path
) -> None:
    assert icm(*run, *QUICK, "--first", 8).code == 0
    found = lines(tmp_path / "run/labels.jsonl")
    found[0]["label"] = {"hot": "cool", "cool": "hot"}[found[0]["label"]]
    planted.write_rows(tmp_path / "run/labels.jsonl", found)
    planted.write_rows(tmp_path / "fixes.jsonl", found[:1])
    again = ("run", "--task", task, "--scorer", url, "--out", tmp_path / "again", "--passes", 2)
    given = ("--from", tmp_path / "run", "--known", tmp_path / "fixes.jsonl")
    assert icm(*again, *given).code == 0
    assert header(tmp_path / "again")["start"] == {row["id"]: row["label"] for row in found}
    labels = {row["id"]: row["label"] for row in lines(tmp_path / "again/labels.jsonl")}
    assert labels[found[0]["id"]] == found[0]["label"]
    assert icm(*again, *given, "--resume").code == 0
    check_refused(icm(*again, *given[2:], "--resume"), 2, "was begun with other start labels")
    itself = icm(*run, "--from", tmp_path / "run", "--overwrite")
    check_refused(itself, 2, "cannot start from itself: write the new run to another folder")
    assert (tmp_path / "run/labels.jsonl").exists()
    other = icm(*again[:-2], *given, "--search", "joint", "--overwrite")
    check_refused(other, 2, "the search joint cannot start from labels")


@pytest.mark.filterwarnings("ignore::UserWarning")  # alarms: four words are few
def test_python_takes_the_same(task: Path, url: str, tmp_path: Path) -> None:
    result = icm_api.label(
        task=task,
        scorer=url,
        search="growing",
        rates={"hot": [0.25, 0.25]},
        known={"row-0": "cool"},
        out=tmp_path / "run",
    )
    assert result.labels.count("hot") == 4
    assert header(tmp_path / "run")["known"] == {"row-0": "cool"}
    words = ["red", "blue", "rose", "navy"]
    short = {"template": "{word}:", "labels": ["warm", "cold"], "scorer": url, "search": "growing"}
    assert icm_api.label(words, known=[None, "warm", None, None], **short).labels[1] == "warm"  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="rates: warm: 2 is not between 0 and 1"):
        icm_api.label(words, rates={"warm": 2}, **short)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="known: no example has the id 'red'"):
        icm_api.label(words, known={"red": "warm"}, **short)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="labelled none of these examples"):
        icm_api.label(words, start=tmp_path / "run", template="{word}:", labels=["hot", "cool"], scorer=url)


@pytest.mark.slow
def test_a_demo_and_an_evaluation_calibrate_to_the_rates(icm: Icm, url: str, tmp_path: Path) -> None:
    task, known = planted.write_task(tmp_path / "data", 40), tmp_path / "known.csv"
    known.write_text("id,label\nrow-0,hot\nrow-1,cool\n", encoding="utf-8")
    given = ("--rates", "hot=0.75", "--known", known)
    out = tmp_path / "demo"
    ended = icm("demo", "--task", task, "--scorer", url, "--out", out, "--examples", 8, "--test-size", 20, *given)
    assert ended.code == 0, ended
    says = "labels occur in the test set at the rates stated or found (hot 0.75)"
    assert says in " ".join(ended.out.split())
    assert "without the 2 known ones" in ended.out
    rows = {row["id"]: row for row in lines(out / "labels.jsonl")}
    assert [row["label"] for row in rows.values()].count("hot") == 6
    assert rows["row-0"]["known"]
    assert rows["row-1"]["known"]
    page = " ".join((out / "report.html").read_text().split())
    assert "stated: hot 0.75" in page
    assert "2 labels were known; figures of right labels leave them out." in page
    assert "examples, 2 of them with a known label, labelled by" in page
    assert f"Calibrated: each label is shifted so that {says}" in page
    ended = icm("eval", out, "--task", task, "--data", tmp_path / "data/data.jsonl", "--scorer", url)
    assert ended.code == 0, ended
    assert says in " ".join(ended.out.split())
    assert "(without the 2 known ones)" in ended.out
    found = json.loads((out / "eval.json").read_text())
    assert found["num_known"] == 2
    assert found["stated_rates"] == {"hot": [0.75, 0.75]}
    # Its test set is the demo's and some more, and gold shots are shifted in the same way.
    demo = json.loads((out / "demo.json").read_text())
    assert found["label_accuracy"] == demo["label_accuracy"]
