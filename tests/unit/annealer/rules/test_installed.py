"""A rule of an installed package: registered by an entry point, with a constraint of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests import planted

from icm_annealer.data.task import Task, load_task
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.registry import rule_of
from icm_annealer.runs.directory import LABELS
from icm_client import RequestError

DOCS = Path(__file__).parents[4] / "docs/rules_and_alarms.md"
THEIRS = re.findall(r'```python title="their_rules.py"\n(.*?)```', DOCS.read_text(encoding="utf-8"), re.DOTALL)[0]
"""The package that the docs show."""
OTHERS = """
class Silent(Rule):
    def count(self, rows, labels):
        return 0


class Failing(Rule):
    def count(self, rows, labels):
        return 0

    def constraint(self, rows):
        return Constraint(0, lambda state, number, label: rows[number]["absent"])


class NoRule:
    pass
"""
RULE = "rules: [{rule: at-most, label: hot, most: 2}]\ngroup: team\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed distribution."""
    info = tmp_path / "site/their_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    points = {"at-most": "AtMost", "silent": "Silent", "failing": "Failing", "no-rule": "NoRule"}
    lines = [f"{name} = their_rules_of_a_class:{value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[icm.rules]", *lines]))
    (info.parent / "their_rules_of_a_class.py").write_text(THEIRS + OTHERS)
    return info.parent


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "their_rules_of_a_class", raising=False)


def write_task(folder: Path, rule: str = RULE) -> Path:
    """A task with teams of twelve, most of which is hot."""
    rows = planted.rows(48)
    for number, row in enumerate(rows):
        row["team"] = f"team {number // 12}"
    path = planted.write_task(folder, 48, task=planted.TASK + rule)
    planted.write_rows(path.parent / "data.jsonl", rows)
    return path


def run_icm(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`icm` in a process of its own, where the package is installed."""
    program = [sys.executable, "-c", "from icm_annealer.cli.app import main; main()", *map(str, arguments)]
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    return subprocess.run(
        program, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )


@pytest.mark.slow
def test_a_rule_of_a_package_is_kept_by_a_run(tmp_path: Path, url: str, site: Path) -> None:
    task, run = write_task(tmp_path / "task"), tmp_path / "run"
    ended = run_icm(site, "task", "check", task)
    assert ended.returncode == 0, ended.stderr
    assert "gold and the rule at-most" in ended.stdout
    ended = run_icm(site, "run", "--task", task, "--scorer", url, "--out", run, "--search", "zero_shot")
    assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in (run / LABELS).read_text().splitlines()]
    hot = [sum(row["label"] == "hot" for row in rows if row["group"] == f"team {number}") for number in range(4)]
    assert max(hot) == 2  # of twelve: the fake engine finds more of them hot
    ended = run_icm(tmp_path, "report", run)  # the package is not there
    assert ended.returncode == 0, ended.stderr


def test_a_rule_of_a_package_solves_groups_of_any_size(installed: None) -> None:
    rule = rule_of({"rule": "at-most", "label": "hot", "most": 3})
    rule.check()
    assert rule_of(rule.model_dump()).model_dump() == rule.model_dump()
    judge = Consistency([rule], [np.arange(500)], [{}] * 500, ["hot", "cool"])
    gains = np.random.default_rng(0).normal(size=500)
    best = judge.best(np.stack([gains, np.zeros(500)], axis=1))
    assert sorted(np.flatnonzero(best == 0)) == sorted(np.argsort(gains)[-3:])
    assert judge.num_contradictions(np.zeros(500, dtype=np.int64)) == 497


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{rule: nobodys}", "rules: no installed package has a rule 'nobodys' (there are: at-most, failing"),
        ("{rule: silent}", "rules: the rule 'silent' cannot be used: its class defines no constraint"),
        ("{rule: no-rule}", "rules: the rule 'no-rule' is a class that is no icm_annealer.rules.base.Rule"),
        ("{rule: at-most, label: hot}", "rules: the rule 'at-most': most: Field required"),
        ("{rule: at-most, label: hot, most: 2, least: 1}", "rules: the rule 'at-most': least: no such field"),
        ("{rule: at-most, label: hot, most: 2020-01-01}", "rules: at-most has a field that is neither text nor number"),
        ("{kind: at-most, label: hot, most: 1}", "no rule has the kind 'at-most' (there are: different_keys, "),
    ],
)
def test_what_is_wrong_with_a_rule_of_a_package(tmp_path: Path, installed: None, rule: str, says: str) -> None:
    with pytest.raises(RequestError) as raised:
        load_task(str(write_task(tmp_path, f"rules: [{rule}]\ngroup: team\n")))
    assert says in raised.value.message
    assert "\n" not in raised.value.message


def test_a_constraint_that_fails_says_where(installed: None) -> None:
    with pytest.raises(RequestError, match=r"the rule 'failing' failed: .*their_rules_of_a_class.py:\d+: KeyError"):
        Consistency([rule_of({"rule": "failing"})], [np.arange(3)], [{}] * 3, ["hot", "cool"])


def test_a_task_that_names_a_missing_package_can_be_read() -> None:
    stated = [{"kind": "installed", "rule": "of-nobody", "size": 3}]
    task = Task.model_validate({"name": "t", "template": "{x}", "labels": {"a": " a", "b": " b"}, "rules": stated})
    assert task.model_dump()["rules"] == stated
    with pytest.raises(RequestError, match="no installed package"):
        task.rules[0].check()
