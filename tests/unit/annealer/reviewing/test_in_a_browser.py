"""The review page in Chromium, driven by keys: what a person does, and what must not be lost meanwhile."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import planted
from tests.browser import BROWSER, Browser, Tab, browsing
from tests.conftest import fake_scorer
from tests.finished import finished
from tests.review_page import lines, served

from icm_annealer.runs.directory import LABELS
from icm_annealer.runs.record import RunRecord

NUM = 200
OTHER = {"hot": "cool", "cool": "hot"}
KEYS = {"hot": "1", "cool": "2"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: apt install chromium"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review")

    async def label() -> None:
        async with fake_scorer() as scorer:
            await finished(scorer, folder / "run", planted.write_task(folder / "data", NUM))

    asyncio.run(label())
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


class Program:
    """`icm review`, as a person starts it."""

    def __init__(self, run: Path):
        command = [sys.executable, "-m", "icm_annealer.cli.app", "review", str(run)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def opened(browser: Browser, url: str) -> Tab:
    tab = browser.tab()
    tab.look(1000)
    tab.open(url)
    tab.wait_for("document.getElementById('place')?.innerText.startsWith('Row 1 ')")
    return tab


def press(tab: Tab, key: str, says: str) -> None:
    tab.press(key)
    tab.wait_for(f"document.getElementById('said').innerText.includes({says!r})")


def shown_id(tab: Tab) -> str:
    found = re.search(r"id (\S+)", tab.text("facts"))
    assert found
    return found[1]


def test_two_hundred_rows_are_corrected_by_keyboard_and_survive_a_kill(browser: Browser, run: Path) -> None:
    found = {row.id: row.label for row in RunRecord.read(run).rows()}
    chosen = {}
    program = Program(run)
    tab = opened(browser, program.url)
    for number in range(NUM):
        if number == NUM // 2:
            program.kill()
            tab.press("1")
            tab.wait_for("document.getElementById('problem').innerText.includes('No answer')")
            program = Program(run)
            tab = opened(browser, program.url)
            assert tab.text("place") == f"Row 1 of {NUM // 2}"
        name = shown_id(tab)
        chosen[name] = found[name] if number % 3 else OTHER[found[name]]
        press(tab, "Enter" if number % 3 == 1 else KEYS[chosen[name]], f"Saved: {name} is")
    assert tab.text("place") == "End of the list"
    assert f"{NUM} of {NUM} reviewed" in tab.text("counts")
    program.kill()
    assert {row.id: row.label for row in RunRecord.read(run).rows()} == chosen
    assert len(lines(run).decisions) == NUM


def test_undo_two_windows_and_an_edited_file(browser: Browser, run: Path) -> None:
    with served(run) as page:
        tab, other = opened(browser, page.url), opened(browser, page.url)
        name = shown_id(tab)
        label = page.row(page.numbers()[0])["label"]
        press(tab, KEYS[OTHER[label]], f"Saved: {name} is {OTHER[label]}")
        press(tab, "u", f"Undone: {name} is {label} again")
        assert shown_id(tab) == name
        press(tab, KEYS[OTHER[label]], "Saved")
        other.press(KEYS[label])
        other.wait_for("document.getElementById('said').innerText.match(/Not saved|decided elsewhere/)")
        assert shown_id(other) == name
        assert f"reviewed: changed to {OTHER[label]}" in other.text("facts")
        press(other, KEYS[label], f"Saved: {name} is {label}")
        # The file is edited after the review.
        rows = lines(run).labels
        number = next(n for n, row in enumerate(rows) if row["id"] == name)
        rows[number]["label"] = OTHER[label]
        planted.write_rows(run / LABELS, rows)
        press(tab, "ArrowLeft", "")
        tab.wait_for("document.getElementById('conflict').innerText.includes('which is used')")
        tab.wait_for("document.getElementById('counts').innerText.includes('1 in conflict')")
        press(tab, KEYS[label], f"Saved: {name} is {label}")
        assert "in conflict" not in tab.text("counts")
        assert RunRecord.read(run).rows()[number].label == label


def test_a_search_takes_letters_and_blind_rows_show_no_label(browser: Browser, run: Path) -> None:
    with served(run) as page:
        tab = opened(browser, page.url)
        tab.press("/")
        for key in "frost u1":
            tab.press(key)
        tab.wait_for("document.getElementById('place').innerText === 'No such row'")
        tab.press("Escape")
        assert lines(run).decisions == []
        tab.open(page.url)
        tab.wait_for("document.getElementById('place')?.innerText.startsWith('Row 1 ')")
        assert "certainty" in tab.text("facts")
        tab.run("document.getElementById('blind').click()")
        assert "certainty" not in tab.text("facts")
        assert tab.run("document.querySelectorAll('[aria-pressed=true], .prob').length") == 0
        tab.press("Enter")
        assert lines(run).decisions == []
        assert tab.run("document.activeElement.id") in ("place", "blind")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_is_labelled(browser: Browser, run: Path, scheme: str) -> None:
    with served(run) as page:
        tab = opened(browser, page.url)
        for width in (320, 390, 1200):
            tab.look(width, scheme=scheme)
            assert tab.run("document.documentElement.scrollWidth") == width
            # Labels and moves are always in sight, every control has a name, and no text is smaller than 12 pixels.
            assert tab.run("document.getElementById('bar').getBoundingClientRect().bottom") <= 844
            controls = "[...document.querySelectorAll('button, select, input')]"
            assert tab.run(f"{controls}.every(e => e.labels?.[0]?.textContent.trim() || e.innerText)")
            texts = "[...document.querySelectorAll('main *')].filter(e => e.innerText)"
            assert tab.run(f"Math.min(...{texts}.map(e => parseFloat(getComputedStyle(e).fontSize)))") >= 12
        paper = tab.run("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", paper)[0]) < 64) == (scheme == "dark")
