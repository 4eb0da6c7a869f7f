"""`icm review`, `icm show`, and what other commands make of the labels that people decided."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused, succeed
from tests.review_page import Page

from icm_annealer.evaluation.agreement import random_order
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.review import Decision

OTHER = {"hot": "cool", "cool": "hot"}
NUM = 16
QUICK = ("--search", "growing")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    """A folder with a task and its data (data/), and a finished run (run/)."""
    folder = tmp_path_factory.mktemp("made")
    task = planted.write_task(folder / "data", NUM)
    command = ["run", "--task", task, "--scorer", url, "--out", folder / "run", *QUICK]
    succeed(*command)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def decide(run: Path, *numbers: int) -> dict[str, str]:
    """Accepts the label of the first of these rows, and changes those of the others."""
    record = RunRecord.read(run)
    rows, decided = record.rows(), {}
    for place, number in enumerate(numbers):
        row = rows[number]
        decided[row.id] = OTHER[row.label] if place else row.label
        assert record.review().append(Decision(id=row.id, label=decided[row.id], was=row.label), 0)
    return decided


def shown(icm: Icm, *args: object) -> list[Any]:
    ended = icm("show", *args, "--json")
    assert ended.code == 0, ended
    found: list[Any] = json.loads(ended.out)["rows"]
    return found


def test_labels_are_shown_beside_their_texts(icm: Icm, run: Path) -> None:
    rows, examples = RunRecord.read(run).rows(), RunRecord.read(run).examples()
    everything = shown(icm, run)
    assert [row["id"] for row in everything] == [row.id for row in rows]
    assert [row["text"] for row in everything] == [example.text for example in examples]
    assert set(everything[0]) == {"id", "text", "label", "certainty", "found", "decided", "group"}
    least = shown(icm, run, "--least-certain", 3)
    assert [row["id"] for row in least] == [row.id for row in sorted(rows, key=lambda row: row.rank)[:3]]
    hot = shown(icm, run, "--label", "hot")
    assert [row["id"] for row in hot] == [row.id for row in rows if row.label == "hot"]
    lines = icm("show", run, "--least-certain", 2).out.splitlines()
    assert lines[0].split() == ["certainty", "label", "id", "text"]
    assert lines[1].endswith(least[0]["text"].replace("\n", "\\n"))
    check_refused(icm("show", run, "--label", "warm"), 2, "'warm' is none of the labels", "hot, cool")
    check_refused(icm("show", run.parent), 2, "holds no run", "run")


def test_rows_that_differ_from_another_run_are_shown(icm: Icm, run: Path, made: Path) -> None:
    decided = decide(run, 2, 5)
    _, (name, label) = decided.items()
    (row,) = shown(icm, run, "--differs-from", made / "run")
    assert (row["id"], row["label"], row["other"], row["decided"]) == (name, label, OTHER[label], "changed")
    assert row["certainty"] == 1
    header, line = icm("show", run, "--differs-from", made / "run").out.splitlines()
    assert header.split() == ["certainty", "label", "other", "decided", "id", "text"]
    assert line.split()[:5] == ["1.000", label, OTHER[label], "changed", name]
    nothing = icm("show", made / "run", "--differs-from", made / "run")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "note: no row fits\n")


def test_decided_labels_are_exported_and_evaluated(icm: Icm, run: Path, made: Path, url: str, tmp_path: Path) -> None:
    decided = decide(run, 1, 3, 4)
    says = "note: 3 of 16 labels were decided by a person: 1 as found, 2 changed"
    ended = icm("export", run, "--format", "jsonl", "--out", tmp_path / "out.jsonl")
    assert says in ended.err
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {row["id"]: row["label"] for row in rows if row["id"] in decided} == decided
    assert [row["certainty"] for row in rows if row["id"] in decided] == [1, 1, 1]
    planted.write_rows(tmp_path / "test.jsonl", planted.rows(40, seed=7))
    task = made / "data/task.yaml"
    ended = icm("eval", run, "--task", task, "--test", tmp_path / "test.jsonl", "--scorer", url)
    assert ended.code == 0, ended
    assert says in ended.err
    assert icm("report", run).code == 0
    assert "3 of 16 labels were decided by a person" in (run / "report.html").read_text()
    assert "taken at random" not in (run / "report.html").read_text()
    decide(run, random_order(NUM)[0])
    assert icm("report", run).code == 0
    assert "people kept 1 of 1 label taken at random" in (run / "report.html").read_text()


def test_decided_labels_lead_back_into_a_search_as_known_ones(
    icm: Icm, run: Path, made: Path, url: str, tmp_path: Path
) -> None:
    command = ("run", "--task", made / "data/task.yaml", "--scorer", url)
    nobody = icm(*command, *QUICK, "--out", tmp_path / "none", "--known", run)
    check_refused(nobody, 2, "holds no label of these examples that a person has decided", "icm review")
    decided = decide(run, 1, 2, 3)
    for out, given in (("from", ("--from", run, "--passes", 2)), ("known", ("--known", run, *QUICK))):
        ended = icm(*command, *given, "--out", tmp_path / out)
        assert ended.code == 0, ended
        again = RunRecord.read(tmp_path / out)
        assert again.header.known == decided
        assert {row.id: row.label for row in again.rows() if row.known} == decided
    # Another known label for the same example is a contradiction, not a choice.
    (tmp_path / "known.csv").write_text(f"id,label\n{next(iter(decided))},{OTHER[next(iter(decided.values()))]}\n")
    wrong = icm(*command, "--from", run, "--known", tmp_path / "known.csv", "--out", tmp_path / "wrong")
    check_refused(wrong, 2, "another known label than before", next(iter(decided)))


def test_a_reviewed_run_is_not_overwritten(icm: Icm, run: Path, made: Path, url: str) -> None:
    decide(run, 1)
    ended = icm("run", "--task", made / "data/task.yaml", "--scorer", url, "--out", run, "--overwrite", *QUICK)
    check_refused(ended, 2, "review.jsonl holds decisions of people", "another --out")
    assert RunRecord.read(run).rows()[1].is_accepted


@pytest.mark.slow
def test_a_review_prints_its_address_and_ends_with_ctrl_c(run: Path) -> None:
    command = [sys.executable, "-m", "icm_annealer.cli.app", "review", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        page = Page(process.stdout.readline().strip())
        row = page.row(page.numbers(order="random")[0])
        assert page.decide(row, OTHER[row["label"]]).status_code == 200
        page.http.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.startswith("Open this address in a browser")
    assert out.splitlines()[-2:] == [
        "1 of 16 labels was decided by a person: 0 as found, 1 changed.",
        "0.0 % of the labels found are right (95 % interval 0.0 to 79.3 %): people kept 0 of 1 label taken at random.",
    ]


def test_what_cannot_be_reviewed_says_why(icm: Icm, run: Path, tmp_path: Path) -> None:
    check_refused(icm("review", tmp_path / "nowhere"), 2, "nowhere holds no run")
    (run / "labels.jsonl").unlink()
    check_refused(icm("review", run), 2, "has no labels yet", "icm resume")
