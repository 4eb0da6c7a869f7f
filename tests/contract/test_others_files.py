"""Files of others that are named by mistake: the scorer does not start, says so in a line, and leaves them alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from icm_client.contract.errors import RequestError
from icm_server.cli.serve import serve
from icm_server.config import AdapterConfig, ScoringConfig, ServerConfig

pytestmark = pytest.mark.slow

LIMIT_S = 30.0
SERVE = [sys.executable, "-m", "icm_server.cli.app", "serve", "--engine", "fake", "--port", "0"]
# Of an engine that takes minutes to load nothing may have been begun.
ENGINE = [sys.executable, "-m", "icm_server.cli.app", "serve", "--model", "./no-such-model", "--port", "0"]


def refused(*arguments: str) -> str:
    """The one line that it ends with."""
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 2, ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert ended.stdout == ""
    return line


NAMED: dict[str, Callable[[Path], ServerConfig]] = {
    "--read-cache-file": lambda path: ServerConfig(engine="fake", scoring=ScoringConfig(read_cache_file=path)),
    "--ready-file": lambda path: ServerConfig(engine="fake", ready_file=path),
    "--keys-file": lambda path: ServerConfig(engine="fake", keys_file=path),
    "--adapter-store": lambda path: ServerConfig(engine="fake", adapters=AdapterConfig(store=path)),
}
"""The settings of a scorer whose option names this path."""
CONTENTS = [b"my notes\n", b"x" * 2**21, b"\0\xff", b"[1, 2]", b'{"url": "a", "b": 1}']


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A scorer that overlooked a file would not start there either: the test fails instead of serving."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize("option", NAMED)
def test_a_file_of_another_s_stays_as_it_is(tmp_path: Path, option: str, taken_port: int) -> None:
    notes = tmp_path / "notes.txt"
    for content in CONTENTS:
        notes.write_bytes(content)
        before = notes.stat()
        with pytest.raises(RequestError) as refusal:
            serve(NAMED[option](notes).model_copy(update={"port": taken_port}))
        assert str(notes) in refusal.value.message
        assert "\n" not in refusal.value.message
        assert notes.read_bytes() == content
        assert (notes.stat().st_ino, notes.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert list(tmp_path.iterdir()) == [notes]


@pytest.mark.parametrize("option", ["--read-cache-file", "--ready-file", "--keys-file"])
def test_what_is_no_file_is_neither_waited_for_nor_replaced(tmp_path: Path, option: str, taken_port: int) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert str(fifo) in refused(*SERVE, option, str(fifo))
    assert fifo.is_fifo()
    with pytest.raises(RequestError, match=str(tmp_path)):
        serve(NAMED[option](tmp_path).model_copy(update={"port": taken_port}))
    assert list(tmp_path.iterdir()) == [fifo]


def test_it_is_said_before_a_model_is_looked_for(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes")
    assert "it was not changed" in refused(*ENGINE, "--read-cache-file", str(notes))
    assert str(notes) in refused(*ENGINE, "--adapter-store", str(notes))
    assert notes.read_text() == "my notes"


def test_what_it_wrote_itself_is_replaced(tmp_path: Path) -> None:
    ready, reads = tmp_path / "ready.json", tmp_path / "reads.sqlite"
    ready.write_text('{"url": "http://127.0.0.1:1"}\n')
    for _ in range(2):
        before = ready.read_text()
        command = [*SERVE, "--ready-file", str(ready), "--read-cache-file", str(reads)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready")
            process.terminate()
            process.communicate(timeout=LIMIT_S)
        assert json.loads(ready.read_text())["url"].startswith("http://127.0.0.1:")
        assert ready.read_text() != before
    assert {path.name for path in tmp_path.iterdir()} == {"ready.json", "reads.sqlite"}
