"""A run that is killed at any moment and resumed ends as if nobody had touched it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests import planted

from icm_annealer.rundir import COSTS, JOURNAL, LABELS

NUM_KILLS = int(os.environ.get("ICM_TEST_KILLS", "12"))
ICM = [sys.executable, "-m", "icm_annealer.cli"]


@pytest.fixture
def scorer_url(tmp_path: Path) -> Iterator[str]:
    """A scorer with the fake engine, as a process of its own."""
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "icm_server.cli", "serve", "--engine", "fake", "--port", "0"]
    process = subprocess.Popen([*command, "--ready-file", str(ready)], stderr=subprocess.DEVNULL)
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        process.wait(20)


def start(task: Path, folder: Path, url: str) -> subprocess.Popen[bytes]:
    command = [*ICM, "run", "--task", str(task), "--scorer", url, "--out", str(folder)]
    return subprocess.Popen(
        [*command, *(["--resume"] if folder.exists() else [])], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def test_a_run_survives_being_killed_at_any_moment(tmp_path: Path, scorer_url: str) -> None:
    task = planted.write_task(tmp_path / "data", 64)
    whole = tmp_path / "whole" / "run"
    begun = time.monotonic()
    assert start(task, whole, scorer_url).wait(60) == 0
    usual_s = time.monotonic() - begun
    rng = np.random.default_rng(0)
    num_kills = num_runs = num_told = 0
    while num_kills < NUM_KILLS:
        num_runs += 1
        folder = tmp_path / f"killed-{num_runs}" / "run"
        for _ in range(6):  # a run is killed up to six times, then left to its end
            process = start(task, folder, scorer_url)
            try:
                assert process.wait(rng.uniform(0.2, 1.1) * usual_s) == 0, process.stderr and process.stderr.read()
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                num_kills += 1
        else:
            process = start(task, folder, scorer_url)
            assert process.wait(60) == 0, process.stderr and process.stderr.read()
        for name in (JOURNAL, LABELS):
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), f"{name} of run {num_runs}"
        num_told += len((folder / COSTS).read_text().splitlines())
    # What was journalled before a kill is never asked again: at most the round under way is lost.
    num_passes = sum(json.loads(line)["kind"] == "pass" for line in (whole / JOURNAL).read_text().splitlines())
    assert num_told <= num_runs * num_passes
