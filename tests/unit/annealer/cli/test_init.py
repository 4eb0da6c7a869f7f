"""`icm init`: the task that it writes for a file is used unchanged."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused
from tests.released import released_file

from icm_annealer.cli.init import name_of_data
from icm_annealer.data.examples import load_examples
from icm_annealer.data.task import load_task
from icm_annealer.data.template import template_fields
from icm_annealer.runs.directory import LABELS

ROWS = planted.rows(24)
TEXTS = [row["words"] for row in ROWS]
NAMES = [row["label"] for row in ROWS]


class Case(NamedTuple):
    """A file, how `icm init` is called for it, and what the task says."""

    name: str
    content: Callable[[], bytes]
    options: tuple[str, ...]
    fields: list[str]
    labels: list[str]
    gold: str | None
    num_gold: int = len(ROWS)


def table(separator: str, *columns: list[Any], header: str = "") -> bytes:
    lines = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return ("\n".join([header, *lines] if header else lines) + "\n").encode()


def objects(**columns: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def json_lines(**columns: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in objects(**columns)).encode()


TRUTH = [name == "hot" for name in NAMES]
CASES = {
    "semicolons": Case(
        "mails.csv", lambda: table(";", TEXTS, NAMES, header="text;label"), (), ["text"], ["cool", "hot"], "label"
    ),
    "truth values": Case(
        "claims.jsonl", lambda: json_lines(claim=TEXTS, holds=TRUTH), (), ["claim"], ["false", "true"], "holds"
    ),
    "numbers and truth values": Case(
        "list.json",
        lambda: json.dumps(objects(q=TEXTS, label=[1, True, *map(int, TRUTH[2:])])).encode(),
        (),
        ["q"],
        ["true", "false"],
        "label",
    ),
    "compressed, with case and gaps": Case(
        "shop.tsv.gz",
        lambda: gzip.compress(table("\t", TEXTS, ["N/A", " Hot", "COOL", *NAMES[3:]], header="Message Text\tKind")),
        (),
        ["Message Text"],
        ["cool", "hot"],
        "Kind",
        len(ROWS) - 1,
    ),
    "without a header": Case(
        "bare", lambda: table(",", NAMES, TEXTS), ("--columns", "mood,words"), ["words"], ["cool", "hot"], "mood"
    ),
    "no labels": Case(
        "new.csv",
        lambda: table(",", TEXTS, header="text"),
        ("--labels", "hot, cool"),
        ["text"],
        ["hot", "cool"],
        None,
        0,
    ),
    "another encoding": Case(
        "old.csv",
        lambda: (
            table(",", [f"\u00e9t\u00e9 {t}" for t in TEXTS], NAMES, header="texte,classe").decode().encode("cp1252")
        ),
        ("--encoding", "cp1252"),
        ["texte"],
        ["cool", "hot"],
        "classe",
    ),
    "several texts, ids and dates": Case(
        "pairs.csv",
        lambda: table(
            ",",
            list(range(24)),
            [number // 2 for number in range(24)],
            ["2024-01-02"] * 24,
            TEXTS,
            TEXTS[::-1],
            ["easy", "hard"] * 12,
            NAMES,
            header="id,pair_id,date,reply_a,reply_b,level,label",
        ),
        (),
        ["reply_a", "reply_b"],
        ["cool", "hot"],
        "label",
    ),
    "single words": Case(
        "words.csv",
        lambda: table(",", [f"{t.split()[0]}{n}" for n, t in enumerate(TEXTS)], list(range(24)), header="word,count"),
        ("--labels", "no,yes"),
        ["word"],
        ["no", "yes"],
        None,
        0,
    ),
    "names that YAML and templates read otherwise": Case(
        "no: #1.jsonl",
        lambda: json_lines(
            **{'a: #\u2028"\U0001f600': TEXTS, "{odd}": TEXTS, "null": [["no", "1e3"][t] for t in TRUTH]}
        ),
        (),
        ['a: #\u2028"\U0001f600'],
        ["1e3", "no"],
        "null",
    ),
    "many classes": Case(
        "bank.csv",
        lambda: table(",", TEXTS * 4, [f"card_{n % 12}" for n in range(96)], header="query,intent"),
        (),
        ["query"],
        sorted(f"card_{n}" for n in range(12)),
        "intent",
        96,
    ),
}
QUICK = ("semicolons", "numbers and truth values", "without a header", "no labels", "several texts, ids and dates")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if name in QUICK else [pytest.mark.slow], id=name) for name, case in CASES.items()],
)
def test_the_task_runs_unchanged(
    icm: Icm, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    """File to labels in two commands, in a folder that is not the data's."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / case.name).write_bytes(case.content())
    ended = icm("init", tmp_path / case.name, *case.options, "--scorer", url, "--out", "my_task.yaml")
    assert ended.code == 0, ended
    assert "Next: icm task check my_task.yaml" in ended.out
    loaded_task = load_task("my_task.yaml")
    task, path = loaded_task.task, loaded_task.data_path
    assert path is not None
    loaded = load_examples(path, task)
    assert list(dict.fromkeys(template_fields(task.template))) == case.fields
    assert (task.label_names, task.gold, len(loaded.gold)) == (case.labels, case.gold, case.num_gold)
    assert Path("my_task.yaml").read_text().count("agreement of halves ") == 3
    run = ("run", "--task", "my_task.yaml", "--scorer", url, "--search", "zero_shot", "--out", "runs/first")
    assert icm(*run).code == 0
    assert len(Path("runs/first", LABELS).read_text().splitlines()) == len(loaded.examples)


RELEASED = {
    "truthfulqa_train.json": ["question", "choice"],
    "truthfulqa_preference_train.json": ["question", "choice", "choice_2"],
    "alpaca_test.json": ["question", "choice", "choice_2"],
    "gsm8k_verification_test.json": ["question", "cot"],
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_data(icm: Icm, tmp_path: Path, name: str) -> None:
    path, out = released_file(name), tmp_path / "task.yaml"
    ended = icm("init", path, "--no-scorer", "--out", out)
    assert ended.code == 0, ended
    task = load_task(str(out)).task
    assert template_fields(task.template) == RELEASED[name]
    assert (task.gold, set(task.labels)) == ("label", {"true", "false"})
    assert '# group: "consistency_id"' in out.read_text()


@pytest.mark.slow
def test_a_terminal_is_asked(tmp_path: Path) -> None:
    """What the options leave open, with a guess that an empty line takes."""
    (tmp_path / "rows.csv").write_bytes(table(",", TEXTS, TEXTS, NAMES, header="a,b,mood"))
    command = [sys.executable, "-m", "icm_annealer.cli", "init", "rows.csv", "--no-scorer"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE) as process:
        os.write(ours, b"\nb\n")
        assert process.wait(60) == 0
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "`none` if there is none [mood]:" in shown
    assert "Which columns does the model read? [a, b]:" in shown
    task = load_task(str(tmp_path / "rows.yaml")).task
    assert (template_fields(task.template), task.gold) == (["b"], "mood")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--text", "txt"), "there is no column 'txt' (there are: text, n, label; is 'text' meant?)"),
        (("--gold", "lable"), "there is no column 'lable'"),
        (("--gold", "none"), "name the labels with --labels"),
        (("--gold", "text"), "the column 'text' does not hold a few values"),
        (("--text", "label", "--gold", "label"), "cannot be both"),
        (("--labels", "one"), "at least 2"),
        (("--labels", "hot,cold", "--gold", "label"), "is none of hot, cold"),
        (("--out", "rows.csv"), "is there already"),
        (("--scorer", "nobody:"), "nobody"),
    ],
)
def test_mistakes_are_errors_and_nothing_is_written(
    icm: Icm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_bytes(table(",", TEXTS, list(range(24)), NAMES, header="text,n,label"))
    ended = (
        icm("init", "rows.csv", "--no-scorer", *options)
        if "nobody:" not in options
        else icm("init", "rows.csv", *options)
    )
    assert ended.code == 2, ended
    assert says in ended.err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_what_a_file_leaves_open_is_an_error_that_names_the_option(icm: Icm, tmp_path: Path) -> None:
    out, numbers, many = tmp_path / "t.yaml", list(range(24)), ["a", "b"] * 12
    for content, *says in (
        (table(",", TEXTS, NAMES), "is the first line a header?", "--columns"),
        (table(",", [f"{name}{n}" for n, name in enumerate(TEXTS)], NAMES), "a column 'cool'", "--columns"),
        (table(",", numbers, numbers, TRUTH, header="a,b,c"), "no column looks like text", "(there are: a, b, c)"),
        (table(",", TEXTS, many, NAMES, numbers, header="t,u,v,n"), "several columns could hold the labels (v, u)"),
        (table(",", TEXTS, numbers, header="text,n"), "no column looks like labels", "--gold (there are: text, n)"),
        (b"text,label\n\xe9t\xe9,hot\n", "line 2: not UTF-8", "--encoding cp1252"),
        (b"text,label\n", "no rows with columns"),
        (json_lines(turns=[[text] for text in TEXTS], label=NAMES), "(there are: turns (lists or objects), label)"),
    ):
        (tmp_path / "rows").write_bytes(content)
        check_refused(icm("init", tmp_path / "rows", "--no-scorer", "--out", out), 2, *says)
        assert not out.exists()
    (tmp_path / "rows").write_bytes(table(",", TEXTS, many, NAMES, numbers, header="t,u,v,n"))
    assert icm("init", tmp_path / "rows", "--gold", "u", "--no-scorer", "--out", out).code == 0
    assert load_task(str(out)).task.gold == "u"


def test_several_labels_in_a_row_make_several_tasks(icm: Icm, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(table(",", TEXTS, ["hot;cool"] * 6 + NAMES[6:], header="text,label"))
    check_refused(icm("init", tmp_path / "rows.csv", "--no-scorer", "--out", tmp_path / "t.yaml"), 2, "a task for each")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("my rows.v2.csv.gz", "my-rows-v2"),
        ("https://x.org/a/b.csv?c=d.e", "b"),
        ("hf:owner/name:part:train", "name-part-train"),
    ],
)
def test_a_task_is_named_after_its_data(data: str, name: str) -> None:
    assert name_of_data(data) == name


def test_bad_rows_are_left_out_if_that_is_asked(icm: Icm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_bytes(table(",", TEXTS, NAMES, header="text,label") + b",hot\n")
    ended = icm("init", "rows.csv", "--no-scorer")
    assert ended.code == 2
    assert "line 26: the field 'text' is empty" in ended.err
    ended = icm("init", "rows.csv", "--no-scorer", "--skip-bad")
    assert ended.code == 0, ended
    assert "25 rows read, 1 bad row skipped. Task written: rows.yaml" in ended.out
    assert "--skip-bad --out runs/rows" in ended.out


def test_task_files_are_compared_without_gold(icm: Icm, tmp_path: Path, url: str) -> None:
    first = planted.write_task(tmp_path / "a", 96)
    second = planted.write_task(
        tmp_path / "b", 8, task=planted.TASK.replace('" hot"', '" up"').replace('" cool"', '" down"')
    )
    check_refused(icm("task", "check", first, "--against", second), 2, "name one with --scorer")
    ended = icm("task", "check", first, "--against", second, "--scorer", url)
    assert ended.code == 0, ended
    lines = [line for line in ended.out.splitlines() if "agreement of halves" in line]
    assert [line.partition(": ")[0] for line in lines] == [str(first), str(second)]
