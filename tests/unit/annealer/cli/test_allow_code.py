"""Code that a task names runs only with leave; without it nothing of it is even imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import planted
from tests.icm_command import Icm, check_refused

from icm_annealer.data.examples import consistency_of
from icm_annealer.data.task import load_task
from icm_annealer.runs.directory import JOURNAL
from icm_client import RequestError

RULE = 'rules: [{kind: python, function: "evil_rules:counted"}]\ngroup: pair\n'


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is there once the task's code was as much as imported."""
    done = tmp_path / "done"
    code = f"open({str(done)!r}, 'a').close()\ndef counted(rows, labels): return 0\n"
    (tmp_path / "evil_rules.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield done
    sys.modules.pop("evil_rules", None)


def test_every_command_that_is_given_a_task_needs_leave(icm: Icm, tmp_path: Path, url: str, evil: Path) -> None:
    task, run = planted.write_task(tmp_path / "data", 60, task=planted.TASK + RULE), tmp_path / "run"
    command = ["run", "--task", task, "--first", 12, "--scorer", url, "--out", run]
    few = ["--examples", 8, "--test-size", 8, "--seeds", 1, "--scorer", url]
    refused = [
        command,
        ["demo", "--task", task, *few, "--out", tmp_path / "demo"],
        ["task", "check", task],
        ["baselines", "--task", task, *few, "--out", tmp_path / "baselines"],
        ["search-bench", "--task", task, "--out", tmp_path / "bench.json", "--scorer", url],
    ]
    for each in refused:
        check_refused(icm(*each), 2, "evil_rules:counted", "--allow-code")
    assert not evil.exists()
    assert not {"demo", "baselines", "run", "bench.json"} & {path.name for path in tmp_path.iterdir()}
    assert icm("task", "check", task, "--allow-code").code == 0
    assert evil.exists()
    assert icm(*command, "--allow-code").code == 0

    evil.unlink()  # whoever is given the run's folder, not the task
    del sys.modules["evil_rules"]
    assert icm("report", run).code == 0
    assert icm("runs", tmp_path).code == 0
    for each in (["eval", run, "--scorer", url], ["export", run, "--format", "jsonl"]):
        check_refused(icm(*each, "--task", task, "--data", task.parent / "data.jsonl"), 2, "--allow-code")
    assert icm("export", run, "--format", "jsonl").code == 0
    check_refused(icm(*command, "--resume"), 2, "--allow-code")
    assert not evil.exists()
    assert icm(*command, "--resume", "--allow-code").code == 0


def test_a_journal_that_names_code_runs_none(icm: Icm, tmp_path: Path, url: str, evil: Path) -> None:
    task, run = planted.write_task(tmp_path / "data", 24), tmp_path / "run"
    assert icm("run", "--task", task, "--first", 12, "--scorer", url, "--out", run).code == 0
    first, *others = (run / JOURNAL).read_text().splitlines(keepends=True)
    header = json.loads(first)
    header["task"]["rules"] = [{"kind": "python", "function": "evil_rules:counted"}]
    (run / JOURNAL).write_text("".join([json.dumps(header) + "\n", *others]))
    for command in (["report", run], ["runs", tmp_path], ["export", run, "--format", "jsonl"]):
        assert icm(*command).code in (0, 2)  # the search used other fields of the examples
    assert icm("eval", run, "--scorer", url, "--test", task.parent / "data.jsonl").code in (0, 2)
    assert not evil.exists()


def test_a_librarys_caller_says_so(tmp_path: Path, evil: Path) -> None:
    path = planted.write_task(tmp_path, 8, task=planted.TASK + RULE)
    with pytest.raises(RequestError, match="--allow-code") as raised:
        load_task(str(path))
    assert raised.value.code == "code_not_allowed"
    loaded = load_task(str(path), allow_code=True)
    assert not evil.exists()
    _, rows = planted.load(planted.write_task(tmp_path / "plain", 8))
    assert consistency_of(loaded.task, rows.examples).num_contradictions(np.zeros(8, dtype=np.int64)) == 0
    assert evil.exists()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution that registers rules."""
    site = tmp_path / "site"
    (site / "their_package-1.0.dist-info").mkdir(parents=True)
    (site / "their_package-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\n")
    (site / "their_package-1.0.dist-info" / "entry_points.txt").write_text(
        "[icm.rules]\nat-most = their_rules:at_most\nbroken = their_rules:raises\nabsent = their_rules:absent\n"
        "words = their_rules:words\n"
    )
    (site / "their_rules.py").write_text(
        "def at_most(rows, labels, *, label, most): return max(0, labels.count(label) - most)\n"
        "def raises(rows, labels): raise KeyError('no such row')\n"
        "def words(rows, labels): return 'many'\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("their_rules", None)


def counted(tmp_path: Path, rule: str) -> int:
    text = planted.TASK + f"rules: [{rule}]\ngroup: pair\n"
    task, rows = planted.load(planted.write_task(tmp_path / "task", 8, task=text))
    return consistency_of(task.task, rows.examples).num_contradictions(np.zeros(8, dtype=np.int64))


@pytest.mark.parametrize("kind", ["", "kind: installed, "])
def test_a_rule_of_an_installed_package_goes_by_its_name(tmp_path: Path, installed: None, kind: str) -> None:
    assert counted(tmp_path, f"{{{kind}rule: at-most, label: hot, most: 1}}") == 4  # pairs of two, all hot


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{rule: nobodys}", "no installed package has a rule 'nobodys' \\(there are: .*at-most"),
        ("{rule: at-most, most: 1}", "'at-most' failed: .*label"),
        ("{rule: at-most, label: hot, most: 2020-01-01}", "neither text nor number"),
        ("{rule: broken}", "'broken' failed: .*their_rules.py:2: KeyError: 'no such row'"),
        ("{rule: words}", "'words' failed: .*TypeError"),
        ("{rule: absent}", "the installed rule 'absent' \\(their_rules:absent\\) cannot be imported: AttributeError"),
        ("{rule: ''}", "rules"),
        ("{kind: installed}", "rules"),
    ],
)
def test_a_fault_of_an_installed_rule_is_reported(tmp_path: Path, installed: None, rule: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        counted(tmp_path, rule)


def test_an_installed_rule_finds_labels_and_stands_in_the_journal(
    icm: Icm, tmp_path: Path, url: str, installed: None
) -> None:
    text = planted.TASK + "rules: [{rule: at-most, label: hot, most: 1}]\ngroup: pair\n"
    task, run = planted.write_task(tmp_path / "data", 12, task=text), tmp_path / "run"
    command = ["run", "--task", task, "--scorer", url, "--out", run]
    assert icm(*command).code == 0
    header: dict[str, Any] = json.loads((run / JOURNAL).read_text().splitlines()[0])
    assert header["task"]["rules"] == [{"kind": "installed", "rule": "at-most", "label": "hot", "most": 1}]
    assert icm(*command, "--resume").code == 0
    assert icm("report", run).code == 0
    assert icm("task", "check", task).code == 0
