"""Results go to stdout, all else to stderr; `--json` and `--quiet` of every command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import Ended, Icm

from icm_annealer.runs.schema.base import Versioned
from icm_annealer.runs.schema.evaluation import Evaluation
from icm_annealer.runs.schema.metrics import DemoResults, RunMetrics

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/output.md").read_text()
FILES: dict[str, type[Versioned]] = {"metrics.json": RunMetrics, "eval.json": Evaluation, "demo.json": DemoResults}
PRICES = {"price", "price_of_time"}


def fields_of(command: str) -> tuple[set[str], set[str]]:
    """The fields that the page names for a command, and those of the file that it refers to."""
    row = next(line for line in PAGE.splitlines() if re.match(rf"\| (`[a-z ]+`, )*`{command}`", line))
    named = re.findall(r"`([\w.]+)`", re.sub(r"\([^)]*\)", "", row.split("|")[2]))
    files = [name for name in named if name in FILES]
    more = {field for name in files for field in FILES[name].model_fields} - {"format"}
    return set(named) - set(files), more


def check_json(command: str, ended: Ended) -> None:
    """One object with the documented fields on stdout; on stderr nothing but warnings."""
    assert ended.code == 0, (command, ended)
    assert ended.out.count("\n") == 1, (command, ended.out)
    found = set(json.loads(ended.out)) - PRICES
    named, of_file = fields_of(command)
    assert named <= found <= named | of_file, (command, found ^ named)
    assert not [line for line in ended.err.splitlines() if not line.startswith(("warning ", "seed 0: warning "))], ended


@pytest.mark.slow
def test_every_command_prints_one_json_object(icm: Icm, tmp_path: Path, url: str) -> None:
    task, run, scorer = planted.write_task(tmp_path / "data", 40), tmp_path / "run", ("--scorer", url)
    request, pairs, few = tmp_path / "request.json", tmp_path / "pairs.jsonl", ("--examples", 8, "--test-size", 8)
    request.write_text('{"prompts": ["a"], "labels": [" b", " c"]}')
    planted.write_rows(pairs, [{"choice": "a", "choice_2": "b"}])
    commands: list[tuple[str, *tuple[object, ...]]] = [
        ("run", "--task", task, "--first", 16, "--search", "zero_shot", *scorer, "--out", run, "--price", 2),
        ("resume", run),
        ("eval", run, "--task", task, "--test-size", 8, "--price-per-hour", 1),
        ("show", run, "--least-certain", 3),
        ("runs", tmp_path),
        ("export", run, "--format", "csv"),
        ("report", run),
        ("tasks",),
        ("task check", task, *scorer),
        ("init", task.parent / "data.jsonl", "--no-scorer", "--out", tmp_path / "made.yaml"),
        ("score", request, *scorer),
        ("demo", "--task", task, *few, *scorer, "--out", tmp_path / "demo"),
        ("baselines", "--task", task, *few, "--seeds", 1, "--methods", "zero_shot,gold", *scorer, "--out", tmp_path),
        ("bench", "--sizes", 8, "--shot-tokens", 10, *scorer, "--out", tmp_path / "plans.json"),
        ("data mirror", pairs, "--out", tmp_path / "mirrored.jsonl"),
        ("adapter list", *scorer),
        ("lab worlds",),
        ("lab tasks", "--out", tmp_path / "lab"),
    ]
    for command, *options in commands:
        quiet = [] if command in ("tasks", "runs", "lab worlds", "lab tasks") else ["--quiet"]
        check_json(command, icm(*command.split(), *options, "--json", *quiet))


def test_results_and_all_else_go_to_their_streams(icm: Icm, tmp_path: Path, url: str) -> None:
    """As where each of them is a file: no line is broken, however long."""
    task, run = planted.write_task(tmp_path / "data", 16), tmp_path / ("a-long-name" * 12)
    ended = icm("run", "--task", task, "--search", "zero_shot", "--scorer", url, "--out", run, "--price", 2)
    assert ended.code == 0, ended
    results = ended.out.splitlines()
    assert results[0].endswith(f"Labels: {run / 'labels.jsonl'}")
    assert [line.split()[0] for line in results[-2:]] == ["Verdict:", "Price:"]
    assert not re.search(r"^(note|warning|\d+:\d\d)\b", ended.out, re.MULTILINE)
    assert "0:00  searching labels for 16 examples\n" in ended.err
    assert re.search(r"^warning ([a-z-]+): .* \(docs/rules_and_alarms.md#\1\)$", ended.err, re.MULTILINE)
    listed = icm("runs", tmp_path)
    assert (listed.err, len(listed.out.splitlines())) == ("", 2)
    assert re.search(rf"^{run.name} +planted +warned: [a-z-]+", listed.out, re.MULTILINE)
    quiet = icm("run", "--task", task, "--search", "zero_shot", "--scorer", url, "--out", run, "--overwrite", "--quiet")
    assert [line.split()[0] for line in quiet.out.splitlines()] == [line.split()[0] for line in results[:-1]]
    assert not [line for line in quiet.err.splitlines() if not line.startswith("warning ")]


def test_many_chains_are_warned_of_before_they_run(icm: Icm, tmp_path: Path, url: str) -> None:
    task = planted.write_task(tmp_path / "data", 16)
    command = ("run", "--task", task, "--scorer", url, "--out", tmp_path / "run", "--max-minutes", 1e-9)
    assert "times as many as its defaults" not in icm(*command).err
    ended = icm(*command, "--overwrite", "--chains", 64)
    assert ended.err.startswith("warning: these options make about ")


def test_only_one_place_opens_a_stream() -> None:
    """`Output`; and what is shown without a command: progress from Python, and in a notebook."""
    files = [path for package in ("annealer", "trainer", "lab") for path in (ROOT / package).rglob("*.py")]
    found = {path.name for path in files if re.search(r"(?<!class )\bTerminal\(", path.read_text())}
    assert found == {"output.py", "watch.py", "notebook.py"}
