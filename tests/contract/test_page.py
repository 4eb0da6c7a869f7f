"""The page in a real browser: what it shows of a scorer that works, on a phone's width and on a desktop's."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from icm_client import ScorerClient
from icm_client.wire import ScoreRequest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT_S = 60.0

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A scorer with the fake engine that three experiments have used, one of them for a second."""
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "icm_server.cli", "serve", "--engine", "fake", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        asyncio.run(use(ready))
        yield json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        _, complained = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, complained


async def use(ready: Path) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not ready.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    async with ScorerClient(json.loads(ready.read_text())["url"]) as client:
        for name, size in (("names-seed1", 30), ("living-seed2", 10)):
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


def test_it_shows_who_uses_the_scorer(url: str, tmp_path: Path) -> None:
    page = rendered(url, tmp_path / "profile", 390)
    assert '<span id="status" role="status" class="ready">ready</span>' in page
    assert "<h1>fake</h1>" in page
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page.partition('<tbody id="rows">')[2], re.DOTALL)
    texts = [html.unescape(re.sub(r"<[^>]+>", " ", row)) for row in rows]
    assert ["living-seed2" in texts[0], "names-seed1" in texts[1], len(texts)] == [True, True, 2]
    assert "50 %" in texts[1]  # of its reads were reused
    assert "2 answered" in texts[1]
    assert "idle, seen" in texts[1]
    tiles = html.unescape(re.sub(r"<[^>]+>", " ", page.partition('<dl id="tiles">')[2].partition("</dl>")[0]))
    assert "40 in all" in tiles
    assert "MB" in tiles
    assert re.search(r'<polyline id="curve" points="[\d., ]+">', page)
