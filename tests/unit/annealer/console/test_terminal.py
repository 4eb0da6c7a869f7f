"""No untrusted text is interpreted as markup or controls the terminal: all commands, run in one, with hostile names."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text
from tests import planted
from tests.icm_command import Icm

from icm_annealer.cli import app as cli
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.runs.directory import EVALUATION, LABELS, METRICS, REPORT
from icm_client.text.visible import visible

ROOT = Path(__file__).parents[4]
TITLE = "\x1b]0;pwned\x07"
"""What changes a terminal's title."""
HOSTILE = f"[/INST] [bold]:smile: {TITLE}\x9b31m\u202e\r\x7f"
OURS = re.compile(r"\r*\x1b\[[0-9;?]*[mKAhl]")
"""What this program sends itself: colours, and the live panel's moves."""

TASK = f"""\
name: planted
title: {json.dumps(HOSTILE)}
template: "Words: {{words}}\\nKind:"
labels:
  "[/INST]": " hot"
  {json.dumps(HOSTILE)}: " cool"
data: data.jsonl
gold: label
"""


class OnTerminal:
    """`icm` in this process, on a pseudo terminal; what it printed, and how it ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self._monkeypatch = monkeypatch

    def __call__(self, *args: object) -> tuple[int, str]:
        main, terminal = pty.openpty()
        read: list[bytes] = []
        reader = threading.Thread(target=self._read, args=(main, read))
        reader.start()
        with os.fdopen(terminal, "w", encoding="utf-8") as stream, self._monkeypatch.context() as patch:
            patch.setattr("sys.argv", ["icm", *map(str, args)])
            patch.setattr("sys.stdout", stream)
            patch.setattr("sys.stderr", stream)
            patch.setenv("TERM", "xterm-256color")
            patch.setenv("COLUMNS", "200")
            with pytest.raises(SystemExit) as ended:
                cli.main()
        reader.join()
        os.close(main)
        code = ended.value.code
        return (code if isinstance(code, int) else int(code is not None)), b"".join(read).decode()

    @staticmethod
    def _read(main: int, read: list[bytes]) -> None:
        while True:
            try:
                data = os.read(main, 65_536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            read.append(data)


@pytest.fixture
def icm_on_terminal(monkeypatch: pytest.MonkeyPatch) -> OnTerminal:
    monkeypatch.delenv("ICM_SCORER_URL", raising=False)
    monkeypatch.delenv("ICM_API_KEY_FILE", raising=False)
    return OnTerminal(monkeypatch)


def check_tame(printed: str) -> None:
    rest = OURS.sub("", printed).replace("\r\n", "\n")
    assert not [sign for sign in rest if sign != "\n" and visible(sign, lines=True) != sign], repr(rest)


def write_task(folder: Path, num: int) -> Path:
    task = planted.write_task(folder, num, task=TASK)
    names = {"hot": "[/INST]", "cool": HOSTILE}
    hostile = [
        {**row, "label": names[row["label"]], "id": f"{row['id']}{TITLE}[/x]", "source": HOSTILE}
        for row in planted.rows(num)
    ]
    hostile[0]["words"] += f" red{TITLE}[/y]"
    planted.write_rows(folder / "data.jsonl", hostile)
    return task


@pytest.mark.slow
def test_every_command_on_a_terminal(icm_on_terminal: OnTerminal, tmp_path: Path, url: str) -> None:
    icm = icm_on_terminal
    task, out = write_task(tmp_path / "[/x]" / f"data{TITLE}", 60), tmp_path / "[/x]" / f"run[bold]{TITLE}"
    run = ["run", "--task", task, "--first", 12, "--scorer", url, "--out", out]
    commands: dict[str, list[object]] = {
        "task check": ["task", "check", task, "--scorer", url],
        "run": run,
        "resume": [*run, "--resume"],
        "report": ["report", out],
        "eval": ["eval", out, "--task", task, "--data", task.parent / "data.jsonl", "--scorer", url],
        "export": ["export", out, "--format", "jsonl"],
        "runs": ["runs", tmp_path],
        "demo": [
            "demo",
            "--task",
            task,
            "--examples",
            8,
            "--test-size",
            8,
            "--scorer",
            url,
            "--out",
            tmp_path / "[/d]",
        ],
        "baselines": [
            *("baselines", "--task", task, "--examples", 8, "--test-size", 8, "--seeds", 1, "--scorer", url),
            *("--methods", "zero_shot,icm,gold", "--out", tmp_path / "[/b]"),
        ],
        "not there": ["run", "--task", f"[/z]{TITLE}", "--out", out],
        "not resumed": [*run, "--resume", "--seed", 5],
        "no option": ["runs", f"--[/z]{TITLE}"],
        "no scorer": ["run", "--task", task, "--scorer", f"http://[/z]{TITLE}", "--out", tmp_path / "no"],
    }
    for name, command in commands.items():
        code, printed = icm(*command)
        assert code == (2 if name.startswith("no") else 0), (name, printed)
        check_tame(printed)
        if code:
            assert re.findall(r"error: .*\r\n$", printed), (name, printed)
            assert "Traceback" not in printed
        if name == "run":
            assert "[/INST]" in printed
            assert {METRICS, LABELS} <= set(os.listdir(out))
    assert {REPORT, EVALUATION} <= set(os.listdir(out))


@pytest.mark.slow
def test_pages_hold_names_as_text(icm: Icm, tmp_path: Path, url: str) -> None:
    script = "<script>alert(1)</script>"
    text = TASK.replace("[/INST]", script).replace("title: ", f'notes: "{script}"\ntitle: "{script}" # ')
    task, out = planted.write_task(tmp_path / "data", 60, task=text), tmp_path / "run"
    names = {"hot": script, "cool": HOSTILE.replace("[/INST]", script)}
    planted.write_rows(
        task.parent / "data.jsonl",
        [{**r, "label": names[r["label"]], "id": r["id"] + script, "words": r["words"]} for r in planted.rows(60)],
    )
    assert icm("run", "--task", task, "--first", 12, "--scorer", url, "--out", out).code == 0
    assert icm("report", out).code == 0
    b = ["--methods", "zero_shot,random_few_shot,icm,gold", "--examples", 8, "--test-size", 8, "--seeds", 1]
    ended = icm("baselines", "--task", task, "--scorer", url, "--out", tmp_path / "b", *b)
    assert ended.code == 0, ended
    for page in (out / REPORT, tmp_path / "b" / "baselines.html"):
        content = page.read_text()
        assert "&lt;script&gt;alert(1)" in content
        assert "<script>alert" not in content


@pytest.mark.parametrize("shown", [str, Text, lambda text: _table(text)])
def test_the_terminal_shows_any_text_as_it_is(tmp_path: Path, shown: Callable[[str], Any]) -> None:
    console = Terminal(width=300, file=(tmp_path / "out").open("w+"), force_terminal=True, force_interactive=True)
    console.print(shown(HOSTILE))
    console.say(f"a\nb{HOSTILE}\udcff")
    console.rule(HOSTILE)
    with RunProgress(console, HOSTILE, ["[/x]"]) as progress:
        progress.status(f"first\n{HOSTILE}")
        progress.note(HOSTILE)
    console.file.flush()
    printed = (tmp_path / "out").read_text()
    check_tame(printed)
    assert printed.count("[/INST] [bold]:smile: \\u001b]0;pwned\\u0007\\u009b31m\\u202e") >= 4
    assert "a\\nb[/INST]" in printed


def test_progress_is_complete_when_a_job_ends_with_fewer_steps_than_it_was_granted() -> None:
    console = Terminal(width=80, file=(printed := io.StringIO()), force_terminal=True, force_interactive=True)
    with RunProgress(console, "living", ["a"]) as progress:
        progress.expect(31)
        for _ in range(24):
            progress.step()
    last = printed.getvalue().rsplit("living", 1)[1]
    assert "24/24" in last
    assert "left" not in last


@pytest.mark.parametrize("is_dumb", [True, False])
def test_a_dumb_terminal_shows_what_is_waited_for_while_it_is(is_dumb: bool) -> None:
    environment = {"TERM": "dumb" if is_dumb else "xterm"}
    console = Terminal(width=80, file=(printed := io.StringIO()), force_terminal=True, _environ=environment)
    with RunProgress(console, "living", ["a"]) as progress:
        progress.status("waiting for the scorer: starting the scorer")
        is_line = printed.getvalue() == "0:00  waiting for the scorer: starting the scorer\n"
    assert is_line == is_dumb
    assert "waiting for the scorer" in printed.getvalue()


def _table(text: str) -> Table:
    table = Table(text, title=text)
    table.add_row(text)
    return table


@pytest.mark.parametrize(("is_terminal", "num_lines"), [(True, 3), (False, 1)])
def test_long_lines_are_broken_on_a_terminal_alone(is_terminal: bool, num_lines: int) -> None:
    console = Terminal(width=40, file=(printed := io.StringIO()), force_terminal=is_terminal)
    console.say("word " * 20, wraps=True)
    assert printed.getvalue().count("\n") == num_lines


def test_what_was_json_still_is() -> None:
    hostile = {HOSTILE: f'{HOSTILE}\u0085\u2028\u2066\u061c\n\t"\\ü 日本 👩‍👩‍👧'}
    shown = visible(json.dumps(hostile, ensure_ascii=False))
    assert json.loads(shown) == hostile
    assert "ü 日本 👩‍👩‍👧" in shown


DOORS = {"print", "Console", "echo", "secho", "from_markup", "from_ansi", "print_json", "input", "write_stderr"}
"""What prints, or takes a text for markup."""


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            owner = getattr(node.func, "value", None)
            if name == "print" and isinstance(node.func, ast.Attribute):  # a console's own
                assert not {"markup", "highlight"} & {word.arg for word in node.keywords}, path
                continue
            found.append(
                (f"{owner.attr}.write" if name == "write" and isinstance(owner, ast.Attribute) else name, node)
            )
    return found


def test_all_that_is_printed_goes_through_one_door() -> None:
    """The server, which has no tables, prints plain text that was made visible."""
    files = [
        path for folder in ("annealer", "lab", "tests/bench", "tests/gpu") for path in (ROOT / folder).rglob("*.py")
    ]
    files = [path for path in files if path.name not in ("terminal.py", "load.py", "bare_engine.py", "programs.py")]
    assert len(files) > 100
    for path in files:
        for name, call in calls(path):
            where = f"{path}:{call.lineno}"
            assert name not in DOORS | {"stdout.write", "stderr.write"}, where
            assert name != "TextColumn" or ast.unparse(call).endswith("markup=False)"), where
    for path in (ROOT / "server").rglob("*.py"):
        for name, call in calls(path):
            assert name not in DOORS - {"print"}, f"{path}:{call.lineno}"
            assert name != "print" or ast.unparse(call.args[0]).startswith("visible("), f"{path}:{call.lineno}"
