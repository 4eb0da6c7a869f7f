"""Ctrl-C at any time ends the programs with code 130 and without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests import planted

ROOT = Path(__file__).parents[2]
PROGRAMS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
INTERRUPTING = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


def program(name: str, *arguments: object) -> list[str]:
    """What the console script does."""
    module, function = PROGRAMS[name].split(":")
    return [sys.executable, "-c", f"from {module} import {function}; {function}()", *map(str, arguments)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_while_the_commands_are_imported(name: str, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(INTERRUPTING)  # is found before the real one, and imported by both
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ended = subprocess.run(
        program(name, "--help"), env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


@pytest.mark.slow
def test_while_a_command_reads(tmp_path: Path) -> None:
    task, pipe = planted.write_task(tmp_path / "data", 8), tmp_path / "rows.jsonl"
    os.mkfifo(pipe)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = program("icm", "task", "check", task, "--data", pipe)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        writer = os.open(pipe, os.O_WRONLY)  # returns when the command has opened the other end
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)
        os.close(writer)
    assert (process.returncode, *printed) == (130, b"", b"")
