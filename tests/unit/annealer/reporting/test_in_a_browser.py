"""Pages as a browser lays them out: at the widths of phones and screens, in light and dark. Needs chromium."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests import planted
from tests.finished import finished

from icm_annealer.reporting.report import render_report
from icm_annealer.reporting.run_report import RunReport
from icm_client import ScorerClient

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 800, 1200)
SCHEMES = {"dark": 0, "light": 1}
MEASURE = """<script>onload = () => {
  const seen = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, look = frame.contentWindow.getComputedStyle;
    const texts = [...page.querySelectorAll("svg text")].filter(text => text.getBoundingClientRect().width);
    return {
      overflow: page.documentElement.scrollWidth - frame.clientWidth,
      texts: texts.length,
      smallest: Math.min(...texts.map(text => parseFloat(look(text).fontSize) * text.getScreenCTM().a)),
      inks: [...new Set(texts.map(text => look(text).fill))],
      ids: [...page.querySelectorAll(".rows [data-name=id] pre")].map(id => id.getClientRects().length),
      paper: look(page.querySelector("section.card")).backgroundColor,
    };
  });
  document.body.innerHTML = "<pre>" + JSON.stringify(seen) + "</pre>";
};</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: apt install chromium"),
]


def laid_out(page: str, folder: Path, scheme: str) -> list[dict[str, Any]]:
    """What is seen of the page at each of WIDTHS."""
    frames = "".join(f'<iframe width="{w}" height="900" srcdoc="{html.escape(page)}"></iframe>' for w in WIDTHS)
    (folder / "frames.html").write_text(f"<!doctype html><style>iframe {{ border: 0 }}</style>{frames}{MEASURE}")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    options += [f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", "--virtual-time-budget=10000"]
    command = [str(BROWSER), *options, "--dump-dom", (folder / "frames.html").as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search("<pre>(.*)</pre>", ended.stdout)
    assert found, ended.stdout[-2000:]
    seen: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
    return seen


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_page_fits_its_window_and_can_be_read(tmp_path: Path, scorer: ScorerClient, scheme: str) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    place = "https://example.org/records-of-2026/"
    planted.write_rows(tmp_path / "data/data.jsonl", [{**row, "id": place + row["id"]} for row in planted.rows(12)])
    runs = [tmp_path / "a-folder-with-quite-a-long-name", tmp_path / "b"]
    for seed, run in enumerate(runs):
        await finished(scorer, run, task_file, seed=seed)
    for shown in (runs[:1], runs):
        for seen in laid_out(render_report([RunReport.read(run) for run in shown]), tmp_path, scheme):
            assert seen["overflow"] <= 0
            assert seen["texts"] > 5
            assert seen["smallest"] > 9  # pixels
            assert max(seen["ids"]) <= 2  # lines
            paper = luminance(seen["paper"])
            assert (paper < 0.1) == (scheme == "dark")
            for ink in seen["inks"]:
                low, high = sorted((luminance(ink), paper))
                assert (high + 0.05) / (low + 0.05) > 4.5
