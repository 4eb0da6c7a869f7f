"""`icm task check` and `icm data`: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from tests import planted
from tests.http_app import running
from tests.icm_command import Icm, check_refused
from tests.pipes import piped

from icm_annealer.runs.directory import JOURNAL, LABELS, METRICS

NO_GOLD = planted.TASK.replace("data: data.jsonl\n", "")
QUESTION = {
    "Question": "What is, as they say, cheese made of?",
    "Best Answer": "Milk",
    "Correct Answers": "Milk; It is made of milk; Curdled milk",
    "Incorrect Answers": 'The moon; "Stars"; Butter',
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A small CSV as TruthfulQA's."""
    path = tmp_path / "TruthfulQA.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(QUESTION))
        writer.writeheader()
        writer.writerows([QUESTION, QUESTION | {"Question": "And butter?"}])
    return path


@pytest.fixture
def served(table: Path) -> Iterator[str]:
    """The address of a server that has the table, and redirects to it."""
    app = FastAPI()
    app.get("/TruthfulQA.csv")(lambda: FileResponse(table))
    app.get("/moved.csv")(lambda: RedirectResponse("/TruthfulQA.csv"))
    with running(app) as url:
        yield url


def test_from_a_table_to_a_checked_task(icm: Icm, tmp_path: Path, table: Path) -> None:
    out = tmp_path / "made" / "claims.jsonl"
    ended = icm("data", "truthfulqa", table, "--out", out)
    assert ended.code == 0, ended
    assert "8 rows in 2 groups" in ended.out
    assert f"icm task check truthfulqa --data {out}" in ended.out
    assert len(read(out)) == 8
    assert [path.name for path in out.parent.iterdir()] == ["claims.jsonl"]
    ended = icm("task", "check", "truthfulqa", "--data", out)
    assert ended.code == 0, ended
    assert "2 groups: 2 of 4" in ended.out
    assert f"Claim: {read(out)[0]['choice']}\nI think this claim is {read(out)[0]['label']}\n\nQuestion:" in ended.out


def test_a_file_that_is_there_is_kept(icm: Icm, tmp_path: Path, table: Path) -> None:
    out = tmp_path / "claims.jsonl"
    out.write_text("mine")
    check_refused(icm("data", "truthfulqa", table, "--out", out), 2, "--overwrite")
    assert out.read_text() == "mine"
    assert icm("data", "truthfulqa", table, "--out", out, "--overwrite", "--claims", 2).code == 0
    assert len(read(out)) == 4
    check_refused(icm("data", "truthfulqa", table, "--out", tmp_path), 2, "is a folder")
    check_refused(icm("data", "truthfulqa", table, "--out", out / "x"), 2, str(out))


def test_a_build_that_fails_leaves_nothing(icm: Icm, tmp_path: Path, table: Path) -> None:
    table.write_text(table.read_text() + "one cell\n")
    out = tmp_path / "made" / "claims.jsonl"
    check_refused(icm("data", "truthfulqa", table, "--out", out), 2, f"{table}, line 4: 1 cells")
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("place", ["TruthfulQA.csv", "moved.csv", "TruthfulQA.csv?raw=true"])
def test_a_url_gives_what_the_file_gives(icm: Icm, tmp_path: Path, table: Path, served: str, place: str) -> None:
    assert icm("data", "truthfulqa", table, "--preference", "--out", tmp_path / "a.jsonl").code == 0
    ended = icm("data", "truthfulqa", f"{served}/{place}", "--preference", "--out", tmp_path / "b.jsonl")
    assert ended.code == 0, ended
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert len(read(tmp_path / "a.jsonl")) == 2 * 8 * 2


def test_what_is_wrong_behind_a_url_is_reported(icm: Icm, tmp_path: Path, table: Path, served: str) -> None:
    out = tmp_path / "rows.jsonl"
    check_refused(icm("data", "truthfulqa", f"{served}/none.csv", "--out", out), 2, f"{served}/none.csv", "404")
    check_refused(icm("data", "truthfulqa", "http://127.0.0.1:9/x.csv", "--out", out), 2, "cannot be downloaded")
    table.write_text("a,b\n1\n")
    url = f"{served}/TruthfulQA.csv"
    check_refused(icm("data", "truthfulqa", url, "--out", out), 2, f"{url}, line 2: 1 cells")


def test_pairs_of_ones_own(icm: Icm, tmp_path: Path) -> None:
    source, out = tmp_path / "pairs.tsv", tmp_path / "pairs.jsonl"
    source.write_text("left\tright\tbetter\ncod\tcup\tL\neel\that\tR\n")
    command = ["data", "mirror", source, "--out", out, "--gold", "better", "--group", "pair"]
    assert "4 rows in 2 groups" in icm(*command, "--fields", "left, right").out
    assert [(row["left"], row["better"], row["pair"]) for row in read(out)] == [
        ("cod", "L", 0), ("cup", "R", 0), ("eel", "R", 1), ("hat", "L", 1),
    ]  # fmt: skip
    for fields in ("left", "left,left", "left,,right"):
        check_refused(icm(*command, "--overwrite", "--fields", fields), 2, "not two different fields")


@pytest.mark.parametrize(
    ("builder", "rows", "num_rows"),
    [
        ("alpaca", [{"prompt": "Hi", "chosen": "Hello", "rejected": "No"}], 2),
        ("gender", [{"gender": kind, "text": kind * 50} for kind in ("male", "female")], 2),
        ("poems", [{"poem": "The sun."}, {"poem": "The moon."}], 2),
        ("mirror", [{"choice": "a", "choice_2": "b"}], 2),
    ],
)
def test_the_other_builders(icm: Icm, tmp_path: Path, builder: str, rows: list[Any], num_rows: int) -> None:
    planted.write_rows(tmp_path / "source.jsonl", rows)
    ended = icm("data", builder, tmp_path / "source.jsonl", "--out", tmp_path / "out.jsonl")
    assert ended.code == 0, ended
    assert f"{num_rows} rows in 1 group" in ended.out
    assert len(read(tmp_path / "out.jsonl")) == num_rows
    if builder != "mirror":
        assert icm("task", "check", builder, "--data", tmp_path / "out.jsonl").code == 0


def test_solutions_through_an_endpoint(icm: Icm, tmp_path: Path) -> None:
    app = FastAPI()

    @app.post("/v1/completions")
    async def completions(body: dict[str, Any]) -> dict[str, Any]:
        assert body["model"] == "named"
        return {"choices": [{"text": f"Way {k}. The answer is {k}."} for k in range(body["n"])]}

    planted.write_rows(tmp_path / "problems.jsonl", [{"question": "What?", "answer": "#### 2"}] * 3)
    command = ["data", "gsm8k", tmp_path / "problems.jsonl", "--out", tmp_path / "out.jsonl", "--problems", 2]
    with running(app) as url:
        ended = icm(*command, "--endpoint", url, "--endpoint-model", "named")
    assert ended.code == 0, ended
    assert "8 rows in 2 groups, 25% of the gold labels true" in ended.out
    check_refused(icm(*command, "--overwrite", "--endpoint", "nowhere"), 2, "not a URL of an endpoint")
    check_refused(icm(*command, "--overwrite", "--endpoint", url, "--api-key-file", "none"), 2, "none")


def test_a_task_without_data_says_what_makes_them(icm: Icm, tmp_path: Path) -> None:
    for command in (["task", "check", "gsm8k"], ["run", "--task", "gsm8k", "--out", tmp_path / "run"]):
        check_refused(icm(*command), 2, "the task 'gsm8k' has no data of its own", "`icm data gsm8k` makes one")
    ended = icm("tasks")
    assert "needs --data, see `icm data gsm8k --help`" in ended.out


def test_a_check_tells_what_looks_wrong(icm: Icm, tmp_path: Path) -> None:
    task = planted.write_task(tmp_path, 24, task=planted.TASK.replace('" hot"', '"hot"'))
    ended = icm("task", "check", task)
    assert ended.code == 0
    assert "looks wrong: the label 'hot' does not begin with a space" in ended.out
    assert "Nothing looks wrong." not in ended.out


def test_a_check_asks_a_model(icm: Icm, tmp_path: Path) -> None:
    task = planted.write_task(tmp_path, 48)
    ended = icm("task", "check", task, "--scorer", "local:fake", "--engine", "fake")
    assert ended.code == 0, ended
    assert "behind 16 shots with gold labels: the labels have" in ended.out
    assert "Nothing looks wrong." in ended.out


@pytest.fixture
def rows() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in planted.rows(200))


def test_every_row_of_a_pipe_is_labelled(icm: Icm, tmp_path: Path, url: str, rows: bytes) -> None:
    task, out = planted.write_task(tmp_path, 2, task=NO_GOLD), tmp_path / "run"
    command = ["run", "--task", task, "--scorer", url, "--search", "zero_shot", "--out", out]
    with piped(rows[:-1] + b"\n\n", [777]) as pipe:
        ended = icm(*command, "--data", pipe)
    assert ended.code == 0, ended
    assert "200 rows read, 1 blank line skipped, 200 labelled." in ended.out
    assert [row["id"] for row in read(out / LABELS)] == [row["id"] for row in planted.rows(200)]
    counts = {"read": 200, "blank_lines": 1, "labelled": 200, "left_out": 0}
    assert json.loads((out / METRICS).read_text())["rows"] == counts
    with piped(rows, [100_000]) as pipe:
        ended = icm(*command, "--data", pipe, "--overwrite", "--first", 64)
    assert "200 rows read, 64 labelled (136 left out by --first)." in ended.out


def test_a_resumed_run_wants_all_its_rows_again(icm: Icm, tmp_path: Path, url: str, rows: bytes) -> None:
    task, out = planted.write_task(tmp_path, 2, task=NO_GOLD), tmp_path / "run"
    command = ["run", "--task", task, "--scorer", url, "--search", "zero_shot", "--out", out]
    with piped(rows, [777]) as pipe:
        assert icm(*command, "--data", pipe).code == 0
    journal = (out / JOURNAL).read_bytes()
    with piped(b"".join(rows.splitlines(keepends=True)[:136]), [777]) as pipe:
        ended = icm(*command, "--data", pipe, "--resume")
    check_refused(ended, 2, "200 examples then, 136 now")
    with piped(rows, [777]) as pipe:
        assert icm(*command, "--data", pipe, "--resume").code == 0
    assert (out / JOURNAL).read_bytes() == journal


def test_what_comes_after_a_run_reads_pipes_as_well(icm: Icm, tmp_path: Path, url: str, rows: bytes) -> None:
    task, out = planted.write_task(tmp_path, 2, task=NO_GOLD), tmp_path / "run"
    with piped(rows, [777]) as pipe:
        command = ["run", "--task", task, "--scorer", url, "--search", "zero_shot", "--first", 100]
        assert icm(*command, "--data", pipe, "--out", out).code == 0
    command = ["eval", out, "--task", task, "--scorer", url]
    with piped(rows, [777]) as pipe:
        ended = icm(*command, "--data", pipe, "--test", pipe)
    assert ended.code == 0, ended
    assert "200 rows read, " in ended.out
    with piped(b"".join(rows.splitlines(keepends=True)[:90]), [777]) as pipe:
        ended = icm(*command, "--data", pipe)
    check_refused(ended, 2, "90 rows read, with 90 of its 100 examples")
    with piped(rows, [777]) as pipe:
        ended = icm("export", out, "--format", "csv", "--task", task, "--data", pipe)
    assert "100 rows: " in ended.out
    with piped(rows, [777]) as pipe:
        ended = icm("task", "check", task, "--data", pipe)
    assert "200 rows read." in ended.out


def test_builders_read_pipes(icm: Icm, tmp_path: Path) -> None:
    pairs = b"".join(b'{"choice": "a%d", "choice_2": "b%d"}\n' % (k, k) for k in range(300))
    with piped(pairs, [555]) as pipe:
        ended = icm("data", "mirror", pipe, "--out", tmp_path / "out.jsonl")
    assert ended.code == 0, ended
    assert "300 rows read\n600 rows in 300 groups" in ended.out
