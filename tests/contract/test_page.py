"""The page in a real browser: what it shows of a scorer that works, on a phone's width and on a desktop's."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Response
from tests.http_app import running

from icm_client import ScorerClient
from icm_client.contract.wire import ScoreRequest
from icm_server.auth.keys_file import add_key

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A scorer with the fake engine that two experiments have used."""
    with serving(tmp_path) as url:
        asyncio.run(use(url, {"names-seed1": 30, "living-seed2": 10}))
        yield url


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "icm_server.cli.app", "serve", "--engine", "fake", "--port", "0", *arguments]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + LIMIT_S
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        _, complained = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, complained


async def use(url: str, sizes: dict[str, int], api_key: str | None = None) -> None:
    async with ScorerClient(url, api_key=api_key) as client:
        for name, size in sizes.items():
            context = "Word: eel\nGroup: living\n\n" * 10
            prompts = [f"{context}Word: {name}{k}\nGroup:" for k in range(size)]
            request = ScoreRequest(prompts=prompts, labels=[" living", " object"], experiment=name)
            await client.score(request)
            await client.score(request)


def rendered(url: str, folder: Path, width: int) -> str:
    """The document's text as it stands after a few seconds."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
    command += [f"--window-size={width},844", "--virtual-time-budget=5000", "--dump-dom", url]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return answer.stdout


def rows_of(page: str) -> list[str]:
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page.partition('<tbody id="rows">')[2], re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", " ", row)) for row in rows]


def test_it_shows_who_uses_the_scorer(url: str, tmp_path: Path) -> None:
    page = rendered(url, tmp_path / "profile", 390)
    assert '<span id="status" role="status" class="ready">ready</span>' in page
    assert "<h1>fake</h1>" in page
    texts = rows_of(page)
    assert ["living-seed2" in texts[0], "names-seed1" in texts[1], len(texts)] == [True, True, 2]
    assert "50 %" in texts[1]  # of its reads came from the read cache
    assert "2 answered" in texts[1]
    assert "idle, seen" in texts[1]
    tiles = html.unescape(re.sub(r"<[^>]+>", " ", page.partition('<dl id="tiles">')[2].partition("</dl>")[0]))
    assert "40 in total" in tiles
    assert "MB" in tiles
    assert re.search(r'<polyline id="curve" points="[\d., ]+">', page)
    assert '<th scope="col" class="name">Experiment</th>' in page
    assert ">Tenant</th>" not in page


def test_it_shows_an_admin_whose_experiments_they_are_and_others_their_own(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    keys = {name: add_key(path, name, experiments=("*",), admin=name == "carol")
            for name in ("alice", "bob", "carol", "dave")}  # fmt: skip
    with serving(tmp_path, "--keys-file", str(path)) as url:
        for name in ("alice", "bob"):
            asyncio.run(use(url, {"paper": 5}, keys[name]))
        pages = {}
        for name, key in keys.items():
            with with_key(url, key) as address:
                pages[name] = rendered(address, tmp_path / name, 1280)
    assert ">Tenant</th>" in pages["carol"]
    assert [("alice" in row, "bob" in row, "paper" in row) for row in rows_of(pages["carol"])] == [
        (True, False, True),
        (False, True, True),
    ]
    for name, other in (("alice", "bob"), ("bob", "alice")):
        assert ">Tenant</th>" not in pages[name]
        assert len(rows_of(pages[name])) == 1
        assert other not in pages[name]
        assert f"Only the work of {name} is shown." in pages[name]
    assert "Only the work of" not in pages["carol"].partition("<script>")[0]
    assert '<span id="peak">0 now, 0 peak</span>' in pages["dave"]


@contextlib.contextmanager
def with_key(url: str, key: str) -> Iterator[str]:
    """The scorer's address for a browser that has the key."""
    app = FastAPI()

    @app.get("/{path:path}")
    def forwarded(path: str) -> Response:
        answer = httpx.get(f"{url}/{path}", headers={"Authorization": f"Bearer {key}"})
        policy = {"Content-Security-Policy": answer.headers.get("Content-Security-Policy", "")}
        return Response(answer.content, answer.status_code, policy, answer.headers["Content-Type"])

    with running(app) as address:
        yield address
