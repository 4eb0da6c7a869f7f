"""README's own way: a task without a gold field, a run, and gold labels afterwards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests import planted
from tests.finished import PAIRS
from tests.icm_command import Icm, check_refused

from icm_annealer.runs.directory import EVALUATION, EXAMPLES, JOURNAL, REPORT, STARTED

TASK = planted.TASK.replace("gold: label\n", "").replace("data: data.jsonl\n", "")


@pytest.mark.slow
def test_gold_is_named_after_the_run(icm: Icm, tmp_path: Path, url: str) -> None:
    data, task, run = tmp_path / "rows.jsonl", tmp_path / "my_task.yaml", tmp_path / "runs" / "spam"
    planted.write_rows(data, planted.rows(24))
    task.write_text(TASK)
    common = ("--task", task, "--data", data, "--scorer", url)
    ended = icm("run", *common, "--out", run)
    assert ended.code == 0, ended
    assert "note: the field 'label' holds label names" in ended.out + ended.err
    assert '"label"' not in (run / EXAMPLES).read_text()
    assert '"pair"' in (run / EXAMPLES).read_text()
    check_refused(icm("eval", run, *common), 2, "gold field is not known")
    assert "'label' holds label names" in icm("task", "check", task, "--data", data).out
    task.write_text(TASK + "gold: label\n")
    planted.write_rows(data, [{**row, "remark": "one more column"} for row in planted.rows(24)])
    check_refused(icm("eval", run, *common, "--dry-run"), 2, "no scorer is asked")
    assert not (run / EVALUATION).exists()
    ended = icm("eval", run, *common)  # nothing is left to test on: the labels alone are judged
    assert ended.code == 0, ended
    found = json.loads((run / EVALUATION).read_text())
    accuracy = found["label_accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"] < 1 + accuracy["low"]
    assert (found["num_test"], found["seeds"]) == (0, [])
    shown = f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]"
    assert f"Labels found that are right: {shown}" in ended.out
    assert icm("report", run).code == 0
    assert f"Of the labels found, {shown} are right" in (run / REPORT).read_text()
    assert icm("report", run, run, "--out", tmp_path / "two.html").code == 0
    assert f'<td class="n">{shown}</td>' in (tmp_path / "two.html").read_text()


def test_a_changed_text_is_another_example(icm: Icm, tmp_path: Path, url: str) -> None:
    data, task, run = tmp_path / "rows.jsonl", tmp_path / "my_task.yaml", tmp_path / "run"
    rows = planted.rows(12)
    planted.write_rows(data, rows)
    task.write_text(TASK + "gold: label\n")
    common = ("--task", task, "--data", data, "--scorer", url)
    assert icm("run", *common, "--search", "zero_shot", "--out", run).code == 0
    planted.write_rows(data, [{**rows[0], "words": "other words"}, *rows[1:]])
    check_refused(icm("eval", run, *common), 2, "not the examples that", "a changed text")


@pytest.mark.parametrize(
    "kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("run", "baselines")), "eval"]
)
def test_a_dry_run_writes_nothing(icm: Icm, tmp_path: Path, url: str, kind: str) -> None:
    task, run = planted.write_task(tmp_path / "data", 40), tmp_path / "run"
    out, few = tmp_path / "out", ("--methods", "zero_shot,growing,gold", "--examples", 12)
    command = {
        "run": ("run", "--task", task, "--search", "zero_shot", "--out", out),
        "baselines": ("baselines", "--task", task, *few, "--out", out),
        "eval": ("eval", run, "--task", task),
    }[kind]
    if kind == "eval":
        short = ("--first", 12, "--search", "zero_shot")
        assert icm("run", "--task", task, *short, "--scorer", url, "--out", run).code == 0
    dry = ("--scorer", url, "--dry-run", "--price", "2", "--price-per-hour", "3")
    ended = icm(*command, *dry)
    assert ended.code == 0, ended
    for text in ("Dry run: nothing was written.", "tokens (", "Price: "):
        assert text in ended.out
    found = json.loads(icm(*command, *dry, "--json").out)
    assert found["price"] == pytest.approx(2e-6 * found["computed_tokens"])
    assert not out.exists()
    assert not (run / EVALUATION).exists()


@pytest.mark.slow
def test_budgets_end_baselines_and_evaluations_in_order(icm: Icm, tmp_path: Path, url: str) -> None:
    task, run = planted.write_task(tmp_path / "data", 40, seed=5), tmp_path / "run"
    methods = ("--methods", "zero_shot,growing,gold", "--examples", 12, "--test-size", 10)
    command = ("baselines", "--task", task, *methods, "--scorer", url, "--out", tmp_path / "b", "--seeds", 3)
    check_refused(icm(*command, "--max-tokens", 1), 1, "no seed has all methods", "--resume")
    whole = icm(*command, "--resume", "--seeds", 1)
    assert whole.code == 0
    ended = icm(*command, "--resume", "--max-tokens", 1)
    assert ended.code == 0, ended
    assert "2 more seeds: the budget was spent before" in ended.out
    assert json.loads((tmp_path / "b" / "baselines.json").read_text())["table"]["seeds"] == [0]
    assert icm("run", "--task", task, "--first", 12, "--scorer", url, "--out", run).code == 0
    evaluate = ("eval", run, "--task", task, "--test-size", 10, "--scorer", url, "--seeds", 3)
    ended = icm(*evaluate, "--max-tokens", 2000)
    assert ended.code == 0, ended
    num_done = len(json.loads((run / EVALUATION).read_text())["seeds"])
    assert num_done < 3
    assert f"The budget was spent before {3 - num_done} more seeds." in ended.out


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), marks=pytest.mark.slow),
        ("--search", "growing", "--rates", "hot=0.4-0.6"),
        pytest.param(("--known", "known.jsonl"), marks=pytest.mark.slow),
    ],
)
def test_a_run_is_resumed_by_its_folder_alone(
    icm: Icm, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Though the data and the task file are gone, and the command runs elsewhere."""
    monkeypatch.chdir(tmp_path)
    planted.write_rows(tmp_path / "known.jsonl", [{"id": "row-3", "label": "cool"}])
    task = planted.write_task(tmp_path / "data", 20, task=PAIRS)
    command = ("run", "--task", task, "--scorer", url, "--seed", 2, *options)
    assert icm(*command, "--out", "whole").code == 0
    budget = ("--max-minutes", 1e-9)  # the scorer remembers its answers, so tokens are no limit
    assert "stopped at its budget" in icm(*command, "--out", "part", *budget).out
    assert "(stopped at its budget)" in icm("runs", "part").out
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    monkeypatch.chdir("/")
    little = icm("resume", tmp_path / "part", "--max-minutes", 2e-9)
    assert "already ended" not in little.err
    needed = re.search(r"the search goes on with a budget of about (\S+) minutes or more", little.err)
    assert needed is not None
    assert float(needed[1]) > 2e-9
    ended = icm("resume", tmp_path / "part")
    assert ended.code == 0, ended
    assert (tmp_path / "part" / JOURNAL).read_bytes() == (tmp_path / "whole" / JOURNAL).read_bytes()
    assert "had already ended" in icm("resume", tmp_path / "part", "--scorer", url).err


def test_a_run_whose_scorer_is_not_known_asks_for_it(icm: Icm, tmp_path: Path, url: str) -> None:
    task, run = planted.write_task(tmp_path / "data", 8), tmp_path / "run"
    assert icm("run", "--task", task, "--search", "zero_shot", "--scorer", url, "--out", run).code == 0
    with_password = url.replace("http://", "http://me:secret@")
    ended = icm("run", "--task", task, "--search", "zero_shot", "--scorer", with_password, "--out", run, "--resume")
    assert ended.code == 0, ended
    assert "secret" not in (run / STARTED).read_text()
    check_refused(icm("resume", run), 2, "name it with --scorer")
    check_refused(icm("resume", tmp_path / "nowhere"), 2, "holds no run")


def test_a_warning_has_an_exit_code_for_scripts(icm: Icm, tmp_path: Path, url: str) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    command = ("run", "--task", task, "--search", "zero_shot", "--scorer", url, "--out", tmp_path / "run")
    ended = icm(*command, "--strict")
    assert ended.code == 3, ended
    assert "warning little-information: " in ended.err
    assert icm(*command, "--resume").code == 0


def test_the_version_is_printed(icm: Icm) -> None:
    assert icm("--version").out.startswith("icm ")


def test_an_evaluation_asks_the_scorer_of_the_run(icm: Icm, tmp_path: Path, url: str) -> None:
    task, run = planted.write_task(tmp_path / "data", 24), tmp_path / "run"
    assert icm("run", "--task", task, "--first", 12, "--search", "zero_shot", "--scorer", url, "--out", run).code == 0
    evaluate = ("eval", run, "--task", task, "--test-size", 4)
    ended = icm(*evaluate, "--price", 1)
    assert ended.code == 0, ended
    assert f"Scorer: {url}, as of the run" in ended.err
    assert re.search(r"^Price: \S+ by computed tokens", ended.out, re.MULTILINE)
    named = icm(*evaluate, "--scorer", "http://127.0.0.1:9", "--wait", 0)
    check_refused(named, 1, "http://127.0.0.1:9")
