"""`icm extend` and `icm plan` as commands."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from tests import finished, planted
from tests.icm_command import Icm, check_refused


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished.finished_run(tmp_path_factory.mktemp("core"), 32)


@pytest.mark.slow
def test_extend_checks_a_sample_and_writes_every_format(icm: Icm, url: str, core: Path, tmp_path: Path) -> None:
    planted.write_rows(tmp_path / "rows.jsonl", planted.rows(300, 1))
    out = tmp_path / "labels.csv"
    asked = ("extend", core, "--data", tmp_path / "rows.jsonl", "--scorer", url, "--shots", 8)
    ended = icm(*asked, "--out", out, "--check", 16)
    assert ended.code == 0, ended
    assert "300 rows labelled" in ended.out
    folder = tmp_path / "labels.csv.extension"
    metrics = json.loads((folder / "extend.json").read_text())
    assert metrics["check"]["agreement"]["value"] > 0.8
    assert "<h1>Extension of run</h1>" in (folder / "report.html").read_text()
    with out.open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == [line["label"] for line in lines]
    assert float(rows[0]["probs.hot"]) == lines[0]["probs"]["hot"]
    check_refused(icm(*asked, "--out", out), 2, "is there already")
    ended = icm(*asked, "--out", tmp_path / "labels.parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(tmp_path / "labels.parquet").column("label").to_pylist() == [r["label"] for r in rows]


def test_plan_tells_the_cost_of_all_ways(icm: Icm, url: str, core: Path, tmp_path: Path) -> None:
    planted.write_rows(tmp_path / "rows.jsonl", planted.rows(300, 1))
    asked = ("plan", core, "--data", tmp_path / "rows.jsonl", "--scorer", url, "--tokens-per-s", 1000)
    ended = icm(*asked, "--price-per-hour", 3.6, "--runs", 4)
    assert ended.code == 0, ended
    for name in ("shots: 1.25 reads", "neighbours: ", "batches: 2 searches", "by tuned: ", "runs: 4 runs", "64: "):
        assert name in ended.out
    tokens = [int(number.replace(",", "")) for number in re.findall(r"about ([\d,]+) tokens computed", ended.out)]
    assert tokens[0] < tokens[1] < tokens[2]
    assert "--mode shots would halve it" in ended.out


def test_what_cannot_be_extended_is_refused_before_anything_is_started(icm: Icm, core: Path, tmp_path: Path) -> None:
    planted.write_rows(tmp_path / "rows.jsonl", planted.rows(4))
    asked = ("extend", core, "--data", tmp_path / "rows.jsonl", "--scorer", "fake:", "--out")
    check_refused(icm(*asked, tmp_path / "labels.txt"), 2, "ends in one of .jsonl, .csv, .parquet")
    check_refused(
        icm(*asked, tmp_path / "a.csv", "--reads", 0.5), 2, "'--reads': Input should be greater than or equal to 1"
    )
    for more in (("--mode", "batches", "--shots", 8), ("--mode", "batches", "--sample", 64)):
        check_refused(icm(*asked, tmp_path / "a.csv", *more), 2, f"{more[2]} (", "is no setting of --mode batches")
    few = ("--mode", "neighbours", "--contexts", 1)
    check_refused(icm(*asked, tmp_path / "a.csv", *few), 2, "needs --contexts 2 at least")
    check_refused(icm(*asked, tmp_path / "a.csv", "--by", core, "--reads", 2), 2, "is no setting of --by")
    check_refused(icm("extend", tmp_path, *asked[2:], tmp_path / "a.csv"), 2, "holds no run")
    assert not list(tmp_path.glob("*.extension"))
