"""Commands that are ended by a signal leave nothing behind: no temporary folder, no process; a run can be resumed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import planted

from icm_annealer.runs.directory import JOURNAL, LABELS
from icm_server.lifecycle.stopping import children_of

pytestmark = pytest.mark.slow

LIMIT_S = 40.0
ICM = [sys.executable, "-m", "icm_annealer.cli.app"]
ENDINGS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131), (signal.SIGINT, 130)]
SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]


def once(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Place:
    """A folder for temporary files alone, and commands that use it."""

    def __init__(self, folder: Path):
        self.folder = folder / "tmp"
        self.folder.mkdir()
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ICM_")}
        self.environment["TMPDIR"] = str(self.folder)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: object, out: int = subprocess.DEVNULL, **how: object) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*map(str, command)], stdin=out, stdout=out, stderr=out, env=self.environment, **how
        )  # type: ignore[call-overload]
        self.processes.append(process)
        return process

    def left(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for process in place.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def with_own_scorer(task: Path, out: Path) -> list[object]:
    return [*ICM, "run", "--task", task, "--engine", "fake", "--chains", 1, "--passes", 60, "--out", out]


def lines_of(out: Path) -> int:
    return (out / JOURNAL).read_bytes().count(b"\n") if (out / JOURNAL).exists() else 0


@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_a_run_with_a_scorer_of_its_own(tmp_path: Path, place: Place, number: signal.Signals, code: int) -> None:
    out = tmp_path / "run"
    command = with_own_scorer(planted.write_task(tmp_path / "data", 32), out)
    run = place.start(*command)
    once(lambda: lines_of(out) >= 3 or run.poll() is not None)
    assert any(name.startswith("icm-scorer-") for name in place.left())
    children = children_of(run.pid)
    assert children
    run.send_signal(number)
    assert run.wait(LIMIT_S) == code
    assert place.left() == []
    assert not any(map(is_alive, children))
    assert not (out / LABELS).exists()
    before = (out / JOURNAL).read_bytes()
    resumed = place.start(*command, "--resume")
    once(lambda: lines_of(out) > before.count(b"\n") or resumed.poll() is not None)
    assert (out / JOURNAL).read_bytes().startswith(before)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_its_scorer_starts(tmp_path: Path, place: Place, number: signal.Signals) -> None:
    run = place.start(*with_own_scorer(planted.write_task(tmp_path / "data", 32), tmp_path / "run"))
    once(lambda: place.left() and children_of(run.pid))
    children = children_of(run.pid)
    run.send_signal(number)
    assert run.wait(LIMIT_S) == 128 + number
    assert place.left() == []
    once(lambda: not any(map(is_alive, children)))


def test_a_terminal_that_is_closed(tmp_path: Path, place: Place) -> None:
    """Which ends all processes that it started, and takes nothing that is printed any more."""
    out = tmp_path / "run"
    ours, theirs = pty.openpty()
    run = place.start(
        *["setsid", "--ctty", *with_own_scorer(planted.write_task(tmp_path / "data", 32), out)], out=theirs
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    once(lambda: _drained(ours) and lines_of(out) >= 3)
    process = next(iter(children_of(run.pid)), run.pid)  # setsid may have made one
    children = [child for parent in {run.pid, process} for child in children_of(parent)]
    os.close(ours)
    assert run.wait(LIMIT_S) == 129
    once(lambda: not any(map(is_alive, children)))
    assert place.left() == []


def _drained(terminal: int) -> bool:
    try:
        while os.read(terminal, 65536):
            pass
    except BlockingIOError:
        pass
    return True


def test_nohup_is_heeded(tmp_path: Path, place: Place) -> None:
    out = tmp_path / "run"
    run = place.start("nohup", *with_own_scorer(planted.write_task(tmp_path / "data", 8), out))
    once(lambda: lines_of(out) >= 2 or run.poll() is not None)
    run.send_signal(signal.SIGHUP)
    assert run.wait(LIMIT_S) == 0
    assert (out / LABELS).exists()


def test_what_a_killed_run_left_goes_with_the_next_start(tmp_path: Path, place: Place) -> None:
    """SIGKILL cannot be caught; folders of runs that live, of others, and links stay."""
    task = planted.write_task(tmp_path / "data", 32)
    lives = place.start(*with_own_scorer(task, tmp_path / "lives"))
    once(lambda: lines_of(tmp_path / "lives") >= 1)
    lives.send_signal(signal.SIGSTOP)  # long before its end, however long the other one takes to start
    killed = place.start(*with_own_scorer(task, tmp_path / "killed"))
    once(lambda: lines_of(tmp_path / "killed") >= 1)
    before = set(place.left())
    killed.kill()
    killed.wait()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "lock").write_text("")
    (place.folder / "icm-scorer-link").symlink_to(target)
    (place.folder / "icm-scorer-old").mkdir()
    third = place.start(*with_own_scorer(task, tmp_path / "third"))
    once(lambda: lines_of(tmp_path / "third") >= 2 or third.poll() is not None)
    third.terminate()
    assert third.wait(LIMIT_S) in (0, 143)
    left = set(place.left())
    assert {"icm-scorer-link", "icm-scorer-old"} < left
    assert len(left & before) == 1
    assert (target / "lock").exists()
    lives.send_signal(signal.SIGCONT)
    lives.terminate()
    assert lives.wait(LIMIT_S) in (0, 143)
    assert set(place.left()) == {"icm-scorer-link", "icm-scorer-old"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_scorer_ends_as_by_ctrl_c(tmp_path: Path, place: Place, number: signal.Signals) -> None:
    ready = tmp_path / "ready.json"
    command = [
        sys.executable,
        "-m",
        "icm_server.cli.app",
        "serve",
        "--engine",
        "fake",
        "--port",
        0,
        "--ready-file",
        ready,
    ]
    scorer = place.start(*command)
    once(lambda: ready.exists() or scorer.poll() is not None)
    assert json.loads(ready.read_text())["url"]
    scorer.send_signal(number)
    assert scorer.wait(LIMIT_S) == 0
    assert place.left() == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_download_that_is_ended_leaves_no_folder(tmp_path: Path, place: Place, number: signal.Signals) -> None:
    serve = "import http.server, time\n"
    serve += "class Slow(http.server.BaseHTTPRequestHandler):\n"
    serve += "    def do_GET(self):\n"
    serve += "        self.send_response(200); self.end_headers()\n"
    serve += "        while True: self.wfile.write(b'prompt,chosen,rejected\\n' * 4096); time.sleep(0.05)\n"
    serve += "server = http.server.HTTPServer(('127.0.0.1', 0), Slow)\n"
    serve += f"open({str(tmp_path / 'port')!r}, 'w').write(f'{{server.server_port}}\\n'); server.serve_forever()\n"
    place.start(sys.executable, "-c", serve)
    once(lambda: (tmp_path / "port").exists() and (tmp_path / "port").read_text().endswith("\n"))
    source = f"http://127.0.0.1:{int((tmp_path / 'port').read_text())}/rows.csv"
    build = place.start(*ICM, "data", "alpaca", source, "--out", tmp_path / "rows.jsonl")
    once(lambda: any(path.stat().st_size for path in place.folder.glob("icm-data-*/*")) or build.poll() is not None)
    build.send_signal(number)
    assert build.wait(LIMIT_S) == 128 + number
    assert place.left() == []
    assert not (tmp_path / "rows.jsonl").exists()
