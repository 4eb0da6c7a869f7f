"""`icm` in the tests' own process, and programs of theirs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from icm_annealer.cli import app as cli

OPTION = re.compile(r"(?<![\w-])(?<!var\()--[a-z](?:[a-z0-9_-]*[a-z0-9])?")
ELSEWHERE = re.compile(r"`icm[^`]*`|\bicm(-server)? [a-z].*")
"""What an error or an advice says of another command."""
ADVISES = ("error: ", "note", "warning", "Verdict: ")
"""How lines begin that may say what to do."""
INSTEAD = ("in the task", "in a sweep's file", "No such option")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Icm:
    """`icm` in this process, as the console script calls it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *args: object) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["icm", *map(str, args)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        ended = Ended(code, *self._capsys.readouterr())
        check_options(args, ended.err + ended.out)
        return ended


def check_options(args: Sequence[object], printed: str) -> None:
    """That the options which errors and advice name are those of the command. What follows a command's name is that
    command's, and a text may say what stands in a file in place of an option."""
    command = cli._command()
    for name in args:
        if not hasattr(command, "commands"):
            break
        command = command.commands.get(str(name), command)
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    for line in printed.splitlines():
        own = ELSEWHERE.sub("", line)
        if own.strip().startswith(ADVISES) and not any(text in own for text in INSTEAD):
            assert set(OPTION.findall(own)) <= known, f"{command.name} has no such option: {line}"


def succeed(*args: object) -> None:
    """`icm` in this process, with all that it prints left to pytest: for a fixture that a whole file shares."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["icm", *map(str, args)])
        code: object = None
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        assert not code, code


def check_refused(ended: Ended, code: int, *says: str) -> None:
    """That it ended with `code` and an error in one line with `says`, below progress and notes if anything."""
    assert ended.code == code, ended
    *before, error = ended.err.splitlines()
    assert error.startswith("error: ")
    assert not [line for line in before if line.startswith("error")]
    assert "Traceback" not in ended.err + ended.out
    for text in says:
        assert text in error


def wait_for(process: subprocess.Popen[bytes], what: Any, limit_s: float = 60.0) -> None:
    """Until `what()` is true, the process has ended, or patience has."""
    end = time.monotonic() + limit_s
    while not what():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < end, "took too long"
        time.sleep(0.02)
