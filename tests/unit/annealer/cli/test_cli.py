"""The command line against a scorer program with the fake engine: files, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused, wait_for
from tests.pipes import piped

from icm_annealer.reporting.run_report import RunReport
from icm_annealer.runs.directory import DEMO, JOURNAL, LABELS, METRICS, REPORT
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.metrics import DemoResults
from icm_annealer.runs.schema.verdict import WORDS
from icm_annealer.runs.set_aside import ASIDE
from icm_client.text.counts import counted

ROW = ["id", "label", "probs", "margin", "context_probs", "label_mass", "group", "run"]


class Keyed(NamedTuple):
    """A scorer that asks for keys, and a file with one of them."""

    url: str
    key_file: Path


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    keys, key, ready = folder / "keys.yaml", folder / "alice.key", folder / "ready.json"
    program = [sys.executable, "-m", "icm_server.cli.app"]
    made = subprocess.run([*program, "key", "new", "alice", "--keys-file", keys], capture_output=True, check=True)
    key.write_bytes(made.stdout)
    command = [*program, "serve", "--engine", "fake", "--port", "0", "--keys-file", keys, "--ready-file", ready]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(process, ready.exists)
            yield Keyed(json.loads(ready.read_text())["url"], key)
        finally:
            process.terminate()


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LABELS).read_text().splitlines()]


@pytest.mark.slow
def test_run_starts_a_scorer_and_writes_labels(icm: Icm, tmp_path: Path) -> None:
    task, out = planted.write_task(tmp_path / "data", 16), tmp_path / "runs" / "first"
    ended = icm("run", "--task", task, "--scorer", "local:fake", "--engine", "fake", "--out", out)
    assert ended.code == 0, ended
    assert str(out / LABELS) in ended.out
    found = rows(out)
    assert len(found) == 16
    assert all(list(row) == ROW and row["run"] == "first" for row in found)
    gold = {row["id"]: row["label"] for row in planted.rows(16)}
    share = sum(row["label"] == gold[row["id"]] for row in found) / 16
    assert max(share, 1 - share) == 1.0
    metrics = json.loads((out / METRICS).read_text())
    assert f"Verdict: {WORDS[metrics['verdict']['name']]}. {metrics['verdict']['observation']}" in ended.out
    assert metrics["num_examples"] == 16
    assert metrics["num_passes"] > 1
    assert metrics["computed_tokens"] > 0


@pytest.mark.slow
def test_run_says_how_many_labels_are_uncertain(icm: Icm, tmp_path: Path, url: str) -> None:
    task = planted.write_task(tmp_path / "data", 24)
    command = ["run", "--task", task, "--scorer", url, "--out", tmp_path / "run", "--overwrite"]
    ended = icm(*command, "--search", "zero_shot")
    num = sum(row["probs"][row["label"]] < 0.6 for row in rows(tmp_path / "run"))
    assert num > 0
    assert f"{counted(num, 'label is', 'labels are')} uncertain (certainty below 0.6)." in ended.out
    ended = icm(*command)
    assert all(row["probs"][row["label"]] >= 0.6 for row in rows(tmp_path / "run"))
    assert "uncertain" not in ended.out


def test_only_the_first_rows(icm: Icm, tmp_path: Path, url: str) -> None:
    task = planted.write_task(tmp_path / "data", 16)
    data = tmp_path / "other.jsonl"
    planted.write_rows(data, [{"words": f"red word{k}", "pair": k // 4} for k in range(10)])
    command = ["run", "--task", task, "--data", data, "--first", 6, "--scorer", url, "--out", tmp_path / "run"]
    assert icm(*command).code == 0
    assert [row["id"] for row in rows(tmp_path / "run")] == [str(k) for k in range(6)]
    task.write_text(planted.TASK + "group: pair\n")  # a group begun is finished
    assert icm(*command, "--overwrite").code == 0
    assert [row["id"] for row in rows(tmp_path / "run")] == [str(k) for k in range(8)]


@pytest.mark.parametrize(
    ("options", "unit"),
    [
        pytest.param(["--search", "official"], "per example", marks=pytest.mark.slow),
        pytest.param(["--plan", "fixed", "--measure", "margin"], "per example", marks=pytest.mark.slow),
        (["--measure", "sum"], "summed over examples"),
    ],
)
def test_other_searches_and_plans(icm: Icm, tmp_path: Path, url: str, options: list[str], unit: str) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    ended = icm("run", "--task", task, "--scorer", url, "--out", tmp_path / "run", *options)
    assert ended.code == 0, ended
    assert f" nats {unit}; " in ended.out
    assert len(rows(tmp_path / "run")) == 8
    assert icm("report", tmp_path / "run").code == 0
    assert f"nats {unit};" in (tmp_path / "run" / REPORT).read_text()


def test_a_run_that_is_there_is_refused_resumed_or_overwritten(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 8), tmp_path / "run"
    command = ["run", "--task", task, "--scorer", url, "--out", out]
    assert icm(*command).code == 0
    (out / "notes.txt").write_text("mine")
    before = {name: (out / name).read_bytes() for name in (JOURNAL, LABELS)}
    check_refused(icm(*command), 2, str(out), "--resume", "--overwrite")
    resumed = icm(*command, "--resume")
    assert resumed.code == 0
    assert f"{LABELS} was not changed" in resumed.err
    assert {name: (out / name).read_bytes() for name in before} == before
    check_refused(icm(*command, "--resume", "--seed", 1), 2, "seed was 0, is now 1")
    assert {name: (out / name).read_bytes() for name in before} == before
    nobody = icm(*command, "--overwrite", "--seed", 1, "--scorer", "http://127.0.0.1:9", "--wait", 0)
    check_refused(nobody, 1, "no scorer was ready")
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name in before} == before
    assert icm("show", out).code == 0
    assert icm(*command, "--overwrite", "--seed", 1).code == 0
    assert (out / JOURNAL).read_bytes() != before[JOURNAL]
    assert not (out / ASIDE).exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_nothing_to_resume(icm: Icm, tmp_path: Path, url: str) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    ended = icm("run", "--task", task, "--scorer", url, "--out", tmp_path / "nowhere", "--resume")
    check_refused(ended, 2, "nowhere", "no run")
    assert not (tmp_path / "nowhere").exists()


def test_a_scorer_that_is_not_there(icm: Icm, tmp_path: Path) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    nobody = "http://127.0.0.1:9"
    ended = icm("run", "--task", task, "--scorer", nobody, "--wait", 1, "--out", tmp_path / "run")
    check_refused(ended, 1, nobody, "icm-server serve")


@pytest.mark.slow
def test_a_local_scorer_that_does_not_start(icm: Icm, tmp_path: Path) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    ended = icm("run", "--task", task, "--engine", "no-such-engine", "--out", tmp_path / "run")
    check_refused(ended, 1, "the scorer did not start")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--plan", "bush"], "no plan 'bush'"),
        (["--task", "no-such-task"], "no task 'no-such-task'"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--scorer", "localhost:8000"], "localhost:8000"),
        (["--experiment", "two words"], "experiment"),
        (["--engine", "fake"], "--engine (engine= in Python) is for a scorer that is started here"),
        (["--api-key-file", "no-key-here"], "no-key-here"),
    ],
)
def test_mistakes_are_reported_in_one_line(icm: Icm, tmp_path: Path, url: str, options: list[str], says: str) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    ended = icm("run", "--task", task, "--scorer", url, "--wait", 1, "--out", tmp_path / "run", *options)
    check_refused(ended, 2, says)


@pytest.mark.parametrize("broken", ['{"words": ', '{"id": "row-0", "words": "red"}', "{}", '{"words": "\\ud800"}'])
def test_bad_data_are_named(icm: Icm, tmp_path: Path, url: str, broken: str) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    data = tmp_path / "rows.jsonl"
    data.write_text(f'{{"id": "row-0", "words": "blue"}}\n\n{broken}\n')
    ended = icm("run", "--task", task, "--data", data, "--scorer", url, "--out", tmp_path / "run")
    check_refused(ended, 2, f"{data}, line 3: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_demo_compares_and_reports(icm: Icm, tmp_path: Path, url: str) -> None:
    out = tmp_path / "demo"
    ended = icm("demo", "--scorer", url, "--examples", 16, "--test-size", 16, "--seeds", 2, "--out", out)
    assert ended.code == 0, ended
    demo = read_file(out / DEMO, DemoResults)
    assert demo is not None
    assert {"zero_shot", "zero_shot_calibrated", "random_few_shot", "icm", "gold"} <= set(demo.test_accuracy)
    for accuracy in demo.test_accuracy.values():
        assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
    assert demo.label_accuracy is not None
    assert 0 <= demo.label_accuracy.value <= 1
    assert demo.seconds > 0
    assert ended.out.count("Verdict: ") == 2
    assert all(f"Verdict: {seed.search.verdict.words}." in ended.out for seed in demo.seeds)
    assert [seed.seed for seed in demo.seeds] == [0, 1]
    assert demo.num_passes == sum(seed.search.num_passes for seed in demo.seeds) > 0
    assert demo.computed_tokens == sum(seed.search.computed_tokens for seed in demo.seeds) > 0
    assert all(len(rows(out / f"seed-{seed}")) == 16 for seed in (0, 1))
    assert rows(out / "seed-0") != rows(out / "seed-1")
    report = (out / REPORT).read_text()
    assert report.lstrip().lower().startswith("<!doctype html")
    assert "http://" not in report.replace("http://www.w3.org", "")  # self-contained: nothing is fetched
    for method in ("zero-shot", "ICM", "gold"):
        assert method in report


def test_demo_finds_what_is_planted(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 60), tmp_path / "demo"
    command = ["demo", "--task", task, "--scorer", url, "--examples", 24, "--test-size", 24, "--out", out]
    assert icm(*command).code == 0
    demo = json.loads((out / DEMO).read_text())
    assert demo["test_accuracy"]["gold"]["value"] >= 0.95
    share = demo["label_accuracy"]["value"]
    assert max(share, 1 - share) >= 0.95
    # Labels that are right, or all turned round, prompt as the gold ones do, or the other way round.
    assert abs(demo["test_accuracy"]["icm"]["value"] - share) <= 0.05
    assert len(rows(out)) == 24


@pytest.mark.slow
def test_a_demo_replaces_an_earlier_one_with_all_its_seeds(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "demo"
    command = ["demo", "--task", task, "--scorer", url, "--examples", 8, "--test-size", 8, "--out", out]
    assert icm(*command, "--seeds", 3).code == 0
    (out / "seed-1" / "notes.txt").write_text("mine")
    assert icm(*command, "--seeds", 2, "--seed", 2).code == 0
    assert [search.record.name for search in RunReport.read(out).searches] == ["seed-2", "seed-3"]
    assert [path.name for path in (out / "seed-1").iterdir()] == ["notes.txt"]
    assert not (out / "seed-0").exists()
    assert icm(*command).code == 0
    assert not (out / "seed-2").exists()


@pytest.mark.parametrize("place", ["demo", pytest.param("demo/seed-7", marks=pytest.mark.slow)])
def test_a_demo_replaces_no_other_run(icm: Icm, tmp_path: Path, url: str, place: str) -> None:
    task = planted.write_task(tmp_path / "data", 40)
    assert icm("run", "--task", task, "--first", 8, "--scorer", url, "--out", tmp_path / place).code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / place).iterdir()}
    command = ["demo", "--task", task, "--scorer", url, "--examples", 8, "--test-size", 8, "--out", tmp_path / "demo"]
    check_refused(icm(*command), 2, str(tmp_path / place), "another --out")
    assert {path.name: path.read_bytes() for path in (tmp_path / place).iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [1, 2])
def test_a_demo_that_was_stopped_promises_nothing_and_is_replaced(
    icm: Icm, tmp_path: Path, url: str, num_seeds: int
) -> None:
    task, out = planted.write_task(tmp_path / "data", 200), tmp_path / "demo"
    options = [
        "demo",
        "--task",
        str(task),
        "--scorer",
        url,
        "--examples",
        "100",
        "--test-size",
        "100",
        "--out",
        str(out),
    ]
    options += ["--seeds", str(num_seeds)]
    command = [sys.executable, "-m", "icm_annealer.cli.app", *options]
    journal = (out / "seed-0" if num_seeds > 1 else out) / JOURNAL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        wait_for(process, journal.exists)
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[0].decode()
    assert process.returncode == 130
    assert printed.endswith("stopped\n")
    assert icm(*options).code == 0


@pytest.mark.parametrize(
    ("options", "says"), [(["--examples", 500, "--test-size", 16], "too few"), (["--data", "GOLDLESS"], "no")]
)
def test_demo_needs_enough_rows_and_gold(icm: Icm, tmp_path: Path, url: str, options: list[object], says: str) -> None:
    task = planted.write_task(tmp_path / "data", 40)
    goldless = tmp_path / "goldless.jsonl"
    planted.write_rows(goldless, [{"words": row["words"]} for row in planted.rows(40)])
    options = [goldless if option == "GOLDLESS" else option for option in options]
    ended = icm("demo", "--task", task, "--scorer", url, "--examples", 16, "--out", tmp_path / "demo", *options)
    check_refused(ended, 2, says)


def test_score_prints_a_line_a_prompt(icm: Icm, tmp_path: Path, url: str) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"prompts": ["Word: cod\nGroup:", "größer"], "labels": [" living", " object"]}))
    ended = icm("score", file, "--scorer", url)
    assert ended.code == 0, ended
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["prompt"] for line in lines] == ["Word: cod\nGroup:", "größer"]
    assert all(len(line["logprobs"]) == 2 and max(line["logprobs"]) < 0 for line in lines)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"prompts": ["a"]}', '{"prompts": [], "labels": [" a"]}'])
def test_score_refuses_what_is_no_request(icm: Icm, tmp_path: Path, url: str, content: str) -> None:
    file = tmp_path / "request.json"
    file.write_text(content)
    check_refused(icm("score", file, "--scorer", url), 2, str(file))


def test_score_refuses_a_file_that_is_not_there(icm: Icm, tmp_path: Path, url: str) -> None:
    check_refused(icm("score", tmp_path / "nothing.json", "--scorer", url), 2, "nothing.json")


def test_tasks_lists_them(icm: Icm) -> None:
    ended = icm("tasks")
    assert ended.code == 0
    assert "living" in ended.out


def start(task: Path, out: Path, url: str, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "icm_annealer.cli.app", "run", "--task", str(task), "--scorer", url]
    command += ["--chains", "1", "--passes", "60", "--out", str(out), *more]
    environment = {key: value for key, value in os.environ.items() if key != "ICM_SCORER_URL"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    """The folder that holds a run's task, and the run, which nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    task = planted.write_task(folder / "data", 12)
    with start(task, folder / "run", url) as process:
        process.communicate()
    assert process.returncode == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_run_that_was_stopped_is_resumed_to_the_same_labels(
    tmp_path: Path, url: str, uninterrupted: Path, number: signal.Signals, code: int
) -> None:
    whole, out, task = uninterrupted / "run", tmp_path / "run", uninterrupted / "data" / "task.yaml"
    with start(task, out, url) as process:
        wait_for(process, lambda: (out / JOURNAL).exists() and (out / JOURNAL).read_bytes().count(b"\n") >= 5)
        process.send_signal(number)
        printed = process.communicate()[0].decode()
    assert process.returncode == code
    assert "Traceback" not in printed
    if number is signal.SIGINT:
        assert "icm resume" in printed
    assert not (out / LABELS).exists()
    assert 5 <= (out / JOURNAL).read_bytes().count(b"\n") < (whole / JOURNAL).read_bytes().count(b"\n")
    with start(task, out, url, "--resume") as process:
        process.communicate()
    assert process.returncode == 0
    assert rows(out) == rows(whole)
    assert (out / JOURNAL).read_bytes() == (whole / JOURNAL).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_run_against_a_scorer_with_keys(
    icm: Icm, tmp_path: Path, keyed: Keyed, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, out = planted.write_task(tmp_path / "data", 8), tmp_path / "run"
    if how == "environment":
        monkeypatch.setenv("ICM_API_KEY_FILE", str(keyed.key_file))
    more = ["--api-key-file", keyed.key_file] if how == "option" else []
    more += ["--experiment", "alice-1"] if how == "option" else []  # else the key's own
    ended = icm("run", "--task", task, "--scorer", keyed.url, "--out", out, *more)
    assert ended.code == 0, ended
    assert len(rows(out)) == 8
    key = keyed.key_file.read_text().strip()
    assert key not in ended.out + ended.err
    for path in out.iterdir():
        assert key not in path.read_text()


def test_a_key_by_a_pipe_is_read_once(icm: Icm, tmp_path: Path, keyed: Keyed) -> None:
    """As `--api-key-file <(pass show scorer)` gives it."""
    task, key = planted.write_task(tmp_path / "data", 8), keyed.key_file.read_bytes()
    with piped(key, [1000]) as pipe:
        ended = icm("run", "--task", task, "--scorer", keyed.url, "--out", tmp_path / "run", "--api-key-file", pipe)
    assert ended.code == 0, ended


def test_without_the_right_key_a_run_ends_at_once(icm: Icm, tmp_path: Path, keyed: Keyed) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    (tmp_path / "wrong").write_text("icm_wrong\n")
    run = ["run", "--task", task, "--scorer", keyed.url, "--out", tmp_path / "run"]
    check_refused(icm(*run), 1, "--api-key-file")
    check_refused(icm(*run, "--api-key-file", "/dev/null"), 1, "--api-key-file")
    check_refused(icm(*run, "--api-key-file", tmp_path / "wrong"), 1, "invalid API key")
    other = icm(*run, "--api-key-file", keyed.key_file, "--experiment", "bob")
    check_refused(other, 1, "alice, alice-*", "not 'bob'")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\xff\xfe", "not text"),
        ("schlüssel".encode(), "character 5"),
        (b"a b", "character 2"),
    ],
)
def test_a_file_without_a_key_is_reported(icm: Icm, tmp_path: Path, keyed: Keyed, content: bytes, says: str) -> None:
    task, file = planted.write_task(tmp_path / "data", 8), tmp_path / "key"
    file.write_bytes(content)
    run = ["run", "--task", task, "--scorer", keyed.url, "--out", tmp_path / "run", "--api-key-file"]
    check_refused(icm(*run, file), 2, says)
    check_refused(icm(*run, tmp_path / "none"), 2, "No such file")
    check_refused(icm(*run, tmp_path), 2, "Is a directory")


@pytest.mark.slow
def test_output_that_nobody_takes_does_not_change_the_exit_code() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    start = "import sys; from icm_annealer.cli import app; sys.argv = ['icm', 'no-command']"
    program = [sys.executable, "-c", f"{start}; sys.stdout.write('x'); app.main()"]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}  # so that it fails only at exit
    ended = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, env=buffered, check=False)
    os.close(writer)
    assert ended.returncode == 2, ended.stderr
