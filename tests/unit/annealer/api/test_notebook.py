"""The notebook of the docs, and the progress that a kernel shows."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icm_annealer.console.notebook import NotebookView
from icm_annealer.console.watch import watch

ROOT = Path(__file__).parents[4]
NOTEBOOK = ROOT / "docs/notebook.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "tests.notebook", str(NOTEBOOK)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "LabelResult: 16 labels (" in ended.stdout
    assert "Report(" in ended.stdout
    assert ended.stdout.endswith("True\n")
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_is_saved_without_what_it_printed() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if "outputs" in cell)


class Kernel:
    """IPython as far as a kernel shows things with it."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.display = SimpleNamespace(display=self._display)

    def get_ipython(self) -> Any:
        return SimpleNamespace(kernel=object())

    def _display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        self.shown.append(data)
        return SimpleNamespace(update=lambda data, *, raw: self.shown.append(data))


def test_progress_in_a_kernel_is_one_text_that_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = Kernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)  # type: ignore[arg-type]
    with watch(None, "my <data>", ["yes", "no"]) as progress:
        progress.expect(2)
        progress.status("searching")
    assert kernel.shown[0]["text/plain"].startswith("my <data>")
    assert "searching" in kernel.shown[-1]["text/plain"]
    assert "my &lt;data&gt;" in kernel.shown[-1]["text/html"]
    assert "".join(capsys.readouterr()) == ""


def test_a_view_changes_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)  # type: ignore[arg-type]
    drawn, thrice = itertools.count(1), threading.Event()

    def render() -> str:
        if (number := next(drawn)) == 3:
            thrice.set()
        return f"drawing {number}"

    view = NotebookView(render)
    view.start()
    assert thrice.wait(60)
    view.stop()
    assert [data["text/plain"] for data in kernel.shown[:3]] == ["drawing 1\n", "drawing 2\n", "drawing 3\n"]


@pytest.mark.parametrize("shown", [None, False])
def test_nothing_is_shown_where_nobody_looks_on(shown: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    with watch(shown, "data", ["yes", "no"]) as progress:
        progress.status("searching")
        progress.note("a note")
    assert "".join(capsys.readouterr()) == ""


def test_progress_is_shown_as_lines_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with watch(True, "data", ["yes", "no"]) as progress:
        progress.status("searching")
    out, err = capsys.readouterr()
    assert (out, err.endswith("searching\n")) == ("", True)
