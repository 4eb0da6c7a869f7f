"""Ctrl-C in a script and in what runs like a notebook's cell; what is answered by then is not asked again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import planted
from tests.icm_command import wait_for

from icm_annealer import label
from icm_annealer.runs.directory import JOURNAL, LABELS

pytestmark = pytest.mark.slow

OPTIONS: dict[str, Any] = {
    "template": "Words: {words}\nKind:",
    "labels": ["hot", "cool"],
    "options": {"num_chains": 1, "max_passes": 60},
}
ROWS = [{"words": row["words"]} for row in planted.rows(12)]
SCRIPT = f"""
import sys

import icm_annealer as icm


def work():
    try:
        icm.label({ROWS!r}, scorer=sys.argv[1], out=sys.argv[2], progress=True, **{OPTIONS!r})
    except KeyboardInterrupt:
        print("interrupted")


"""
AS_A_SCRIPT = f"{SCRIPT}work()\n"
AS_A_CELL = f"""{SCRIPT}
import asyncio


async def cell():
    work()


asyncio.new_event_loop().run_until_complete(cell())  # which leaves Ctrl-C as it is, as a notebook's kernel does
"""


@pytest.mark.parametrize("script", [AS_A_SCRIPT, AS_A_CELL], ids=["script", "cell"])
def test_a_labelling_that_was_interrupted_is_resumed_to_the_same_labels(url: str, tmp_path: Path, script: str) -> None:
    whole = label(ROWS, scorer=url, out=tmp_path / "whole", **OPTIONS)
    out = tmp_path / "run"
    command = [sys.executable, "-c", script, url, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(process, lambda: (out / JOURNAL).exists() and (out / JOURNAL).read_bytes().count(b"\n") >= 5)
        process.send_signal(signal.SIGINT)
        printed, shown = (text.decode() for text in process.communicate())
    assert (process.returncode, printed) == (0, "interrupted\n"), shown
    assert f"stopped; what was answered is saved. Continue with: out={str(out)!r}, resume=True" in shown
    assert not (out / LABELS).exists()
    again = label(ROWS, scorer=url, out=out, resume=True, **OPTIONS)
    assert again.labels == whole.labels
    assert (out / JOURNAL).read_bytes() == (whole.folder / JOURNAL).read_bytes()


def test_a_local_scorer_ends_with_the_labelling(tmp_path: Path) -> None:
    out = tmp_path / "run"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", AS_A_CELL, "fake:", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        wait_for(process, lambda: (out / JOURNAL).exists() and (out / JOURNAL).read_bytes().count(b"\n") >= 2)
        process.send_signal(signal.SIGINT)
        printed = process.communicate()[0].decode()
    assert printed == "interrupted\n"
    assert list(tmp_path.glob("icm-scorer-*")) == []
    assert json.loads((out / JOURNAL).read_text().splitlines()[0])["kind"] == "start"
