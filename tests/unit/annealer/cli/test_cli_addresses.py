"""Commands with proxies in their environment, and with users in their scorer's address."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import planted
from tests.http_app import running
from tests.icm_command import Icm, check_refused
from tests.openai_app import FakeEndpoint
from tests.proxy import environment

from icm_annealer.runs.directory import LABELS


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port at which nobody answers, and whether somebody asked can be seen."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield listening


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    made = FakeEndpoint()
    with running(made.app) as made.url:
        yield made


def proxy_of(listening: socket.socket) -> str:
    return f"http://joe:hunter2@127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.slow
def test_a_scorer_of_ones_own_and_one_on_this_machine_are_asked_directly(
    icm: Icm, tmp_path: Path, url: str, endpoint: FakeEndpoint, listener: socket.socket
) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    named = url.replace("127.0.0.1", "localhost")
    scorers = [["--engine", "fake"], ["--scorer", url], ["--scorer", named], ["--scorer", f"openai:{endpoint.url}"]]
    with environment(HTTP_PROXY=proxy_of(listener), ALL_PROXY=proxy_of(listener)):
        for number, scorer in enumerate(scorers):
            ended = icm("run", "--task", task, "--out", tmp_path / f"run-{number}", "--wait", 20, *scorer)
            assert ended.code == 0, ended
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("kind", ["", "openai:"])
@pytest.mark.parametrize("command", ["run", "demo", "baselines", "search-bench", "bench"])
def test_a_proxy_that_cannot_be_used_is_reported_before_anything_is_made(
    icm: Icm, tmp_path: Path, kind: str, command: str
) -> None:
    out = tmp_path / "made" / "run"
    task = [] if "bench" in command else ["--task", planted.write_task(tmp_path / "data", 40)]
    with environment(ALL_PROXY="socks5://joe:hunter2@proxy:1080"):
        ended = icm(command, *task, "--scorer", f"{kind}http://box.example:8000", "--out", out)
    check_refused(ended, 2, "socks5://proxy:1080", "ALL_PROXY", "httpx[socks]", "NO_PROXY")
    assert "hunter2" not in ended.out + ended.err
    assert not out.parent.exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "openai:"])
def test_a_user_in_an_address_is_shown_and_written_nowhere(
    icm: Icm, tmp_path: Path, url: str, endpoint: FakeEndpoint, kind: str
) -> None:
    task, out = planted.write_task(tmp_path / "data", 8), tmp_path / "run"
    where = kind + (endpoint.url if kind else url).replace("//", "//joe:hunter2@")
    printed = []
    for command in (
        ["run", "--task", task, "--scorer", where, "--out", out],
        ["run", "--task", task, "--scorer", where, "--out", out, "--resume"],
        ["report", out],
        ["runs", tmp_path],
        ["task", "check", task, "--scorer", where],
    ):
        ended = icm(*command)
        assert ended.code == 0, ended
        printed.append(ended.out + ended.err)
    for failing in (
        ["--scorer", where.replace("hunter2@127.0.0.1", "hunter2@127.0.0.1:9/x")],
        ["--scorer", f"{kind}http://joe:hunter2@127.0.0.1:9"],
        ["--scorer", f"{kind}http://joe:hunter2@127.0.0.1:port"],
        ["--scorer", f"{kind}http://joe:hun/ter2@127.0.0.1"],
        ["--scorer", f"{kind}joe:hunter2@127.0.0.1"],
        ["--scorer", f"{kind}http://127.0.0.1/?key=hunter2"],
    ):
        ended = icm("run", "--task", task, "--out", tmp_path / "other", "--wait", 0, "--overwrite", *failing)
        check_refused(ended, ended.code)
        assert ended.code in (1, 2)
        printed.append(ended.out + ended.err)
    (tmp_path / "key").write_text("icm_k3y\n")
    both = icm("run", "--task", task, "--scorer", where, "--out", tmp_path / "new", "--api-key-file", tmp_path / "key")
    check_refused(both, 2, "only one of them can be sent")
    printed.append(both.err)
    printed += [path.read_text() for path in [*out.iterdir(), *(tmp_path / "other").glob("*")] if path.is_file()]
    assert (out / LABELS).exists()
    for text in printed:
        assert not any(secret in text for secret in ("hunter2", "hun/ter2", "ter2", "icm_k3y")), text
    assert json.loads((out / "journal.jsonl").read_text().splitlines()[0])["kind"]


def test_a_user_in_the_address_of_data_is_not_shown(icm: Icm, tmp_path: Path) -> None:
    for source in ("http://joe:hunter2@127.0.0.1:9/rows.csv", "http://joe:hun/ter2@127.0.0.1:9/rows.csv?key=hunter2"):
        ended = icm("data", "alpaca", source, "--out", tmp_path / "rows.jsonl")
        check_refused(ended, 2, "cannot be downloaded")
        assert "ter2" not in ended.out + ended.err


@pytest.mark.parametrize("url", ["http://[/rows.csv", "http://joe:hunter2@[::/rows.csv"])
def test_what_is_no_url_of_data_is_reported(icm: Icm, tmp_path: Path, url: str) -> None:
    ended = icm("data", "mirror", url, "--out", tmp_path / "rows.jsonl")
    check_refused(ended, 2, "it is no URL")
    assert "hunter2" not in ended.err


def test_certificates_that_cannot_be_read_are_reported_where_data_are_downloaded(
    icm: Icm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    ended = icm("data", "mirror", "https://127.0.0.1:9/rows.csv", "--out", tmp_path / "rows.jsonl")
    check_refused(ended, 2, "SSL_CERT_FILE")
