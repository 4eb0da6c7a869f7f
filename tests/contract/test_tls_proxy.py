"""A scorer behind TLS, as docker/nginx.conf has it: the very file, but for addresses, paths, and smaller limits.

It runs where nginx and openssl are (`apt install nginx openssl`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from tests.adapter_files import save_adapter

from icm_client import AccessError, RequestError, ScorerClient, ScoreRequest, UnavailableError
from icm_client.contract.adapters import WEIGHTS_FILE
from icm_server.auth.keys_file import add_key

CONFIG = Path(__file__).parents[2] / "docker/nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
LIMIT_S = 30.0
HEADER_S = 2
MAX_CONNECTIONS = 6

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None or shutil.which("openssl") is None, reason="nginx or openssl is not installed"),
]


class Proxied(NamedTuple):
    folder: Path
    """Holds its certificate, which is `trust`ed, and the key for it."""
    port: int
    """Where nginx listens with TLS, on all loopback addresses."""
    scorer: str
    """The scorer's own address."""
    key: str
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def connected(self, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """A connection from one of this machine's own addresses, its handshake done."""
        plain = socket.create_connection(("127.0.0.1", self.port), LIMIT_S, (source, 0))
        return self.trust.wrap_socket(plain, server_hostname="127.0.0.1")

    def half_sent(self) -> ssl.SSLSocket:
        """A connection with a request under way: its body is still to come."""
        connection = self.connected()
        connection.sendall(post(self.key, 1000) + b'{"prompts": [')
        return connection


def post(key: str, num_bytes: int) -> bytes:
    head = f"POST /v1/score HTTP/1.1\r\nHost: scorer\r\nAuthorization: Bearer {key}\r\nContent-Length: {num_bytes}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def configured(folder: Path, port: int, scorer: str) -> Path:
    """The file as it is shipped, for here."""
    text = CONFIG.read_text()
    for shipped, here in (
        ("/tmp/", f"{folder}/"),
        ("/run/secrets/icm_tls_", f"{folder}/"),
        ("listen 8443", f"listen 127.0.0.1:{port}"),
        ("$scorer scorer:8000", f"$scorer {scorer}"),
        ("client_header_timeout 10s", f"client_header_timeout {HEADER_S}s"),
        ("limit_conn address 128", f"limit_conn address {MAX_CONNECTIONS}"),
        ("worker_processes 2", "worker_processes 1"),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    (folder / "nginx.conf").write_text(text)
    return folder / "nginx.conf"


@contextlib.contextmanager
def nginx(config: Path, port: int) -> Iterator[None]:
    command = [str(NGINX), "-e", "stderr", "-c", str(config)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=True)
    assert "warn" not in checked.stderr
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + LIMIT_S
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=scorer", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*new, "-keyout", folder / "key", "-out", folder / "cert"], check=True, capture_output=True)
    key = add_key(folder / "keys.yaml", "alice")
    serve = [sys.executable, "-m", "icm_server.cli.app", "serve", "--engine", "fake", "--port", "0"]
    serve += ["--keys-file", str(folder), "--engine-arg", "tokens_per_s=2000"]
    serve += ["--adapter-store", str(folder / "store")]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            scorer = process.stdout.readline().split(" at ")[1].split()[0]
            port = free_port()
            with nginx(configured(folder, port, scorer.removeprefix("http://")), port):
                yield Proxied(folder, port, scorer, key, ssl.create_default_context(cafile=folder / "cert"))
        finally:
            process.terminate()


REQUEST = ScoreRequest(prompts=["Word: salmon\nGroup:", "Word: stone\nGroup:"], labels=[" living", " object"])


@pytest.fixture
def trusted(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> Proxied:
    """With the certificate as people name it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(proxied.folder / "cert"))
    return proxied


async def test_a_client_scores_through_it(trusted: Proxied) -> None:
    async with ScorerClient(trusted.url, api_key=trusted.key) as client:
        await client.wait_ready(LIMIT_S)
        through = await client.score(REQUEST)
    async with ScorerClient(trusted.scorer, api_key=trusted.key) as client:
        assert (await client.score(REQUEST)).logprobs == through.logprobs
    async with ScorerClient(trusted.url, api_key="icm_wrong") as client:
        with pytest.raises(AccessError):
            await client.score(REQUEST)


async def test_an_adapter_passes_through_it(trusted: Proxied) -> None:
    async with ScorerClient(trusted.url, api_key=trusted.key) as client:
        adapter = save_adapter(trusted.folder / "adapter")
        assert (await client.put_adapter("mine", adapter)).rank == 2
        with (adapter / WEIGHTS_FILE).open("r+b") as file:
            file.truncate(80 * 2**20)  # more than any other body
        with pytest.raises(RequestError, match="describes"):
            await client.put_adapter("mine", adapter)
        assert [each.name for each in (await client.adapters()).adapters] == ["mine"]


def test_answers_pass_line_by_line(proxied: Proxied) -> None:
    bearer = {"Authorization": f"Bearer {proxied.key}"}
    body = {"prompts": [f"{number}" + " w" * 900 for number in range(4)], "labels": [" x", " y"]}
    headers = bearer | {"Accept": "application/x-ndjson"}
    with httpx.stream("POST", f"{proxied.url}/v1/score", json=body, headers=headers, verify=proxied.trust) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["kind"] == "start"
        waiting = httpx.get(f"{proxied.scorer}/v1/experiments", headers=bearer).json()["all"]["waiting"]
        assert waiting["tokens"] > 0  # it is not over
        kinds = [json.loads(line)["kind"] for line in lines if line]
    assert kinds.count("end") == 1


def test_a_stranger_is_refused_before_the_body_is_sent(proxied: Proxied) -> None:
    with proxied.connected() as connection:
        connection.sendall(post("icm_wrong", 5 * 10**7))
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(proxied: Proxied) -> None:
    with proxied.connected() as connection:
        connection.sendall(post(proxied.key, 10**9))
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_too_large"


def test_large_headers_are_refused(proxied: Proxied) -> None:
    headers = {f"X-{number}": "x" * 4000 for number in range(10)}
    assert httpx.get(f"{proxied.url}/healthz", headers=headers, verify=proxied.trust).status_code == 400
    assert httpx.get(f"{proxied.url}/healthz", headers={"X": "x" * 4000}, verify=proxied.trust).status_code == 200


def test_slow_headers_are_cut_off(proxied: Proxied) -> None:
    with contextlib.ExitStack() as held:
        silent = held.enter_context(socket.create_connection(("127.0.0.1", proxied.port), LIMIT_S))  # no handshake
        idle, slow = (held.enter_context(proxied.connected()) for _ in range(2))
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: sco")
        for connection in (silent, idle, slow):
            assert connection.recv(1000) == b""  # an end, before this test's own time limit


def test_one_address_has_so_many_connections_and_others_have_theirs(proxied: Proxied) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(MAX_CONNECTIONS):
            held.enter_context(proxied.half_sent())

        def status(source: str) -> bytes:
            with proxied.connected(source) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: scorer\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: connection.recv(10_000), b""))

        refused = status("127.0.0.1")
        while not refused.startswith(b"HTTP/1.1 429 "):  # until all of them have been read that far
            refused = status("127.0.0.1")
        assert b"\r\nRetry-After: 5\r\n" in refused
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "busy_connections"
        assert status("127.0.0.2").startswith(b"HTTP/1.1 200 ")


async def test_a_scorer_that_is_away_is_reported_as_such(trusted: Proxied, tmp_path: Path) -> None:
    for name in ("cert", "key"):
        shutil.copy(trusted.folder / name, tmp_path)
    port = free_port()
    with nginx(configured(tmp_path, port, f"127.0.0.1:{free_port()}"), port):
        async with httpx.AsyncClient(verify=trusted.trust) as http:
            answer = await http.get(f"https://127.0.0.1:{port}/v1/model")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        async with ScorerClient(f"https://127.0.0.1:{port}", api_key=trusted.key) as client:
            with pytest.raises(UnavailableError, match="the scorer behind this address cannot be reached"):
                await client.wait_ready(0.1)
