"""The options that say how data are read: `--columns`, `--encoding`, `--skip-bad`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused

LINES = ["\u00e0 red sun fire;hot", "ice snow;cool", "broken", ";hot", "hail frost;Cold"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table without a header, in an encoding that is not recognised, in which three rows are bad."""
    rows = [f"{row['words']};{row['label']}" for row in planted.rows(24)]
    (tmp_path / "rows.txt").write_bytes("\n".join([*LINES, *rows]).encode("cp1252"))
    return tmp_path / "rows.txt"


def test_bad_rows_are_told_together(icm: Icm, tmp_path: Path, data: Path) -> None:
    task = planted.write_task(tmp_path / "data", 24)
    options = ["--data", data, "--columns", "words, label", "--encoding", "cp1252"]
    ended = icm("task", "check", task, *options)
    *table, error = ended.err.splitlines()
    assert ended.code == 2
    assert error.startswith(f"error: {data}: 3 of 29 rows cannot be used: ")
    assert [line.partition("[")[2] for line in table[1:4]] == ["line 3]", "line 4]", "line 5]"]
    assert '  "Cold": "cool"  # 1 row' in table


@pytest.mark.slow
def test_bad_rows_are_skipped(icm: Icm, tmp_path: Path, data: Path) -> None:
    task = planted.write_task(tmp_path / "data", 24)
    options = ["--data", data, "--columns", "words, label", "--encoding", "cp1252"]
    folder = tmp_path / "run"
    ended = icm("run", "--task", task, *options, "--skip-bad", "--scorer", "fake:", "--out", folder)
    assert ended.code == 0, ended
    assert "29 rows read, 3 bad rows skipped, 26 labelled." in ended.out
    assert f"The 3 bad rows skipped: {folder / 'skipped.jsonl'}" in ended.out
    skipped = [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]
    assert [(row["where"], row["row"]) for row in skipped] == [
        (f"{data}, line 3", ["broken"]),
        (f"{data}, line 4", {"words": None, "label": "hot"}),
        (f"{data}, line 5", {"words": "hail frost", "label": "Cold"}),
    ]
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    assert rows == {"read": 29, "blank_lines": 0, "labelled": 26, "left_out": 0, "skipped": 3}

    assert "3 of 29 rows cannot be used" in icm("eval", folder, "--task", task, *options, "--scorer", "fake:").err


def test_an_address_may_be_where_the_data_are(icm: Icm, tmp_path: Path) -> None:
    url = "http://ada:hunter2@127.0.0.1:9/rows.csv"
    text = planted.TASK.replace("data.jsonl", url)
    for task, options in ((text, []), (planted.TASK, ["--data", url])):
        ended = icm("task", "check", planted.write_task(tmp_path, 24, task=task), *options)
        check_refused(ended, 2, "127.0.0.1:9/rows.csv: cannot be downloaded")
        assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--columns", "words,words"], "every column needs a name of its own"),
        (["--columns", ","], "every column needs a name of its own"),
        (["--encoding", "nobodys"], "there is no encoding 'nobodys'"),
        ([], "not UTF-8 (byte 0); in cp1252 it reads '\u00e0 red sun fi': if that is right, give --encoding cp1252"),
    ],
)
def test_options_that_are_wrong_or_missing(icm: Icm, tmp_path: Path, data: Path, options: list[str], says: str) -> None:
    task = planted.write_task(tmp_path / "data", 24)
    if not options:
        data.write_bytes(b"words,label\n" + data.read_bytes().replace(b";", b",").partition(b"\n")[0])
    check_refused(icm("task", "check", task, "--data", data, *options), 2, says)
