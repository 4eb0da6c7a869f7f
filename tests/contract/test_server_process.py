"""`icm-server` as a program, with the fake engine: how it starts, what it says, how it ends."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from icm_server.auth.keys_file import add_key

pytestmark = pytest.mark.slow

LIMIT_S = 30.0
PROGRAM = [sys.executable, "-m", "icm_server.cli.app"]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `icm-server serve --engine fake` with more arguments; whatever still runs is ended after the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [*PROGRAM, "serve", "--engine", "fake", *arguments]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def once(condition: Callable[[], bool]) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def url_in(ready_file: Path) -> str:
    once(ready_file.exists)
    return str(json.loads(ready_file.read_text())["url"])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_on_a_free_port_until_a_signal(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start("--port", "0", "--ready-file", str(tmp_path / "ready.json"))
    url = url_in(tmp_path / "ready.json")
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready", "model": "fake"}
    process.send_signal(number)
    said, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert url in said
    assert "Traceback" not in complained


def ask(url: str, prompt: str) -> subprocess.Popen[str]:
    """A request by itself, whose answer's status is what it prints."""
    program = f"""
import httpx
body = {{"prompts": [{prompt!r}], "labels": [" living", " object"]}}
answer = httpx.post("{url}/v1/score", json=body, timeout=60)
print(answer.status_code, answer.json())
"""
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_reading(url: str) -> bool:
    return bool(httpx.get(f"{url}/v1/experiments").json()["all"]["waiting"]["tokens"])


def test_a_request_under_way_is_answered_before_it_ends(start: Start, tmp_path: Path) -> None:
    forms = ("--log-format", "json", "--engine-arg", "delay_s=2")
    process = start("--port", "0", "--ready-file", str(tmp_path / "ready.json"), *forms)
    url = url_in(tmp_path / "ready.json")
    asking = ask(url, "Word: salmon\nGroup:")
    once(lambda: is_reading(url))
    process.terminate()
    once(lambda: httpx.get(f"{url}/readyz").status_code == 503)
    refused = httpx.post(f"{url}/v1/score", json={"prompts": ["a"], "labels": [" b"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
    assert int(refused.headers["Retry-After"]) > 0
    _, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    answer, _ = asking.communicate(timeout=LIMIT_S)
    assert answer.startswith("200 ")
    events = [json.loads(line) for line in complained.splitlines()]
    names = [event["event"] for event in events]
    assert names.index("ready") < names.index("draining; signal again to stop now") < names.index("stopping")
    assert events[names.index("stopping")]["cancelled"] == 0


@pytest.mark.parametrize(("drain_s", "num_signals"), [("0.2", 1), ("3600", 2)])
def test_what_does_not_end_in_time_is_given_up(start: Start, tmp_path: Path, drain_s: str, num_signals: int) -> None:
    ready = tmp_path / "ready.json"
    process = start("--port", "0", "--ready-file", str(ready), "--engine-arg", "tokens_per_s=10", "--drain-s", drain_s)
    url = url_in(ready)
    asking = ask(url, " w" * 4000)
    once(lambda: is_reading(url))
    process.terminate()
    if num_signals == 2:
        once(lambda: httpx.get(f"{url}/readyz").status_code == 503)
        process.terminate()
    _, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    answer, _ = asking.communicate(timeout=LIMIT_S)
    assert answer.startswith("503 ")
    assert "cancelled" in answer
    assert json.loads(complained.splitlines()[-1])["event"] in ("stopping", "stopping now", "request finished")


def test_the_log_is_json_unless_asked_otherwise(start: Start, tmp_path: Path) -> None:
    for form, is_json in (("auto", True), ("text", False)):
        process = start("--port", "0", "--ready-file", str(tmp_path / form), "--log-format", form)
        url_in(tmp_path / form)
        process.terminate()
        _, complained = process.communicate(timeout=LIMIT_S)
        lines = complained.splitlines()
        assert lines
        assert all(line.startswith("{" if is_json else "[") for line in lines)


@pytest.mark.parametrize("has_keys", [False, True])
def test_the_command_that_it_prints_works(start: Start, tmp_path: Path, has_keys: bool) -> None:
    (tmp_path / "me.key").write_text(add_key(tmp_path / "keys.yaml", "me") + "\n")
    keys = ["--keys-file", str(tmp_path / "keys.yaml")] if has_keys else []
    process = start("--port", "0", "--ready-file", str(tmp_path / "ready.json"), *keys)
    url_in(tmp_path / "ready.json")
    process.terminate()
    # The server is gone by then; a fresh one at the same port answers the printed command.
    said, _ = process.communicate(timeout=LIMIT_S)
    command = said.splitlines()[1]
    assert command.startswith("curl ")
    port = command.split("/v1/score")[0].rpartition(":")[2]
    start("--port", port, "--ready-file", str(tmp_path / "again.json"), *keys)
    url_in(tmp_path / "again.json")
    in_bash = ["bash", "-c", command]
    answer = subprocess.run(in_bash, capture_output=True, text=True, timeout=LIMIT_S, check=True, cwd=tmp_path)
    assert len(json.loads(answer.stdout)["logprobs"][0]) == 2


def test_a_busy_port_is_reported_in_a_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = run("serve", "--engine", "fake", "--port", str(port))
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [
        f"error: cannot listen on 127.0.0.1:{port} (Address already in use): "
        "choose another --port, or 0 for any free one"
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--engine-arg", "nonsense=1"], 1, "no argument 'nonsense'"),
        (["--ready-file", "/no/such/folder/ready.json"], 2, "/no/such/folder"),
        (["--connection-limit", "header_s=0"], 2, "header_s"),
    ],
)
def test_mistakes_are_reported_in_a_line(arguments: list[str], code: int, words: str) -> None:
    answer = run("serve", "--engine", "fake", "--port", "0", *arguments)
    assert answer.returncode == code
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_other_machines_are_not_let_in_without_keys() -> None:
    answer = run("serve", "--engine", "fake", "--port", "0", "--host", "::")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: anyone who can connect to :: could use this scorer: set --keys-file")
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("more", [["--allow-no-keys"], ["--published-at", "127.0.0.1"]])
def test_unless_it_is_asked_for(start: Start, tmp_path: Path, more: list[str]) -> None:
    start("--port", "0", "--host", "0.0.0.0", "--ready-file", str(tmp_path / "ready.json"), *more)
    assert httpx.get(f"{url_in(tmp_path / 'ready.json')}/v1/model").status_code == 200


def test_it_answers_by_the_names_that_it_is_given(start: Start, tmp_path: Path) -> None:
    start("--port", "0", "--ready-file", str(tmp_path / "ready.json"), "--allow-host", "gpu.example")
    url = url_in(tmp_path / "ready.json")
    for host, status in (("gpu.example", 200), ("evil.example", 421)):
        assert httpx.get(f"{url}/v1/model", headers={"Host": host}).status_code == status


def test_half_open_connections_leave_files_for_others(start: Start, tmp_path: Path) -> None:
    """As many as its process may open files, and twice that: it stays to be reached, and so does what it works with."""
    command = ["bash", "-c", 'ulimit -n 128 && exec "$@"', "bash", *PROGRAM, "serve", "--engine", "fake"]
    command += ["--port", "0", "--ready-file", str(tmp_path / "ready.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with contextlib.ExitStack() as held:
        held.callback(process.communicate, timeout=LIMIT_S)
        held.callback(process.terminate)
        place = httpx.URL(url_in(tmp_path / "ready.json"))
        for _ in range(256):
            half = held.enter_context(socket.create_connection((place.host, place.port or 0)))
            half.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nX: ")
        body = {"prompts": ["a"], "labels": [" b", " c"]}
        assert httpx.get(place.join("/healthz")).status_code == 200
        assert httpx.post(place.join("/v1/score"), json=body).status_code == 200


def test_a_key_is_printed_once_and_opens_a_scorer_that_runs(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    made = run("key", "new", "alice", "--keys-file", str(file))
    assert made.returncode == 0, made.stderr
    alice = made.stdout.strip()
    assert alice not in made.stderr + file.read_text()
    process = start(
        "--port", "0", "--host", "0.0.0.0", "--ready-file", str(tmp_path / "ready.json"), "--keys-file", str(file)
    )
    url = url_in(tmp_path / "ready.json")

    def status(key: str) -> int:
        return httpx.get(f"{url}/v1/model", headers={"Authorization": f"Bearer {key}"}).status_code

    assert [status(alice), status(alice[:-1])] == [200, 401]
    bob = run("key", "new", "bob", "--keys-file", str(file), "--experiment", "paper-*", "--weight", "2").stdout.strip()
    assert status(bob) == 200
    process.terminate()
    said, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    for key in (alice, bob):
        assert key not in said + complained


def test_a_keys_file_that_is_not_there_is_reported_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run("serve", "--engine", "fake", "--port", "0", "--keys-file", "none.yaml")
    assert answer.returncode == 2
    assert "none.yaml: No such file" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_help_teaches() -> None:
    assert "serve" in run("--help").stdout


def test_it_ends_with_its_starter(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [*PROGRAM, "serve", "--engine", "fake", "--port", "0", "--ready-file", str(ready), "--exit-with-parent"]
    program = f"import subprocess; print(subprocess.Popen({command!r}).pid, flush=True); input()"
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    url_in(ready)
    starter.kill()
    starter.communicate()
    once(lambda: not runs(pid))


def test_the_guard_ends_the_children_of_a_server_that_is_killed() -> None:
    program = """
import subprocess, time
from icm_server.lifecycle.stopping import guard_children
guard_children(every_s=0.2)
print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
time.sleep(60)
"""
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    child = int(server.stdout.readline())
    time.sleep(1)  # the guard looks five times
    server.kill()
    server.wait()
    once(lambda: not runs(child))
    server.stdout.close()


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
