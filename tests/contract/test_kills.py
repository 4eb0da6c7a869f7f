"""A run that is killed at any moment and resumed ends as if nobody had touched it.

ICM_TEST_KILLS says how often; ICM_TEST_SCORER names a running scorer with a real engine to do it on: one that remembers
finished reads, as it does by itself, gives the same answers again.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests import planted

from icm_annealer.runs.directory import COSTS, JOURNAL, LABELS

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("ICM_TEST_KILLS", "8"))
SCORER = os.environ.get("ICM_TEST_SCORER")
MAX_RUN_S = 900 if SCORER else 60
ICM = [sys.executable, "-m", "icm_annealer.cli.app"]


def serve(folder: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """A scorer with the fake engine, as a process of its own, and its URL once it is ready."""
    ready = folder / f"ready-{time.monotonic_ns()}.json"
    command = [sys.executable, "-m", "icm_server.cli.app", "serve", "--engine", "fake", "--port", str(port)]
    process = subprocess.Popen([*command, "--ready-file", str(ready)], stderr=subprocess.DEVNULL)
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.05)
    return process, json.loads(ready.read_text())["url"]


@pytest.fixture
def scorer_url(tmp_path: Path) -> Iterator[str]:
    if SCORER:
        yield SCORER
        return
    process, url = serve(tmp_path)
    yield url
    process.terminate()
    process.wait(20)


def start(task: Path, folder: Path, url: str, max_file_bytes: int | None = None) -> subprocess.Popen[bytes]:
    """A run of the command line, resumed if its folder is there; files longer than the limit cannot be written."""

    def limit() -> None:
        if max_file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

    command = [*ICM, "run", "--task", str(task), "--scorer", url, "--out", str(folder)]
    command += ["--resume"] if folder.exists() else []
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=limit)


def test_a_run_survives_being_killed_at_any_moment(tmp_path: Path, scorer_url: str) -> None:
    task = planted.write_task(tmp_path / "data", 64)
    whole = tmp_path / "whole" / "run"
    assert start(task, whole, scorer_url).wait(MAX_RUN_S) == 0
    begun = time.monotonic()
    assert start(task, tmp_path / "again" / "run", scorer_url).wait(MAX_RUN_S) == 0
    usual_s = time.monotonic() - begun
    rng = np.random.default_rng(0)
    num_kills = num_runs = num_lines = 0
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
            assert process.wait(MAX_RUN_S) == 0, process.stderr and process.stderr.read()
        for name in (JOURNAL, LABELS):
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), f"{name} of run {num_runs}"
        num_lines += len((folder / COSTS).read_text().splitlines())
    # What was journalled before a kill is never asked again: at most the round under way is lost.
    num_passes = sum(json.loads(line)["kind"] == "pass" for line in (whole / JOURNAL).read_text().splitlines())
    assert num_lines <= num_runs * (num_passes + 1)  # some of the last pass is asked again


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path, scorer_url: str) -> None:
    task = planted.write_task(tmp_path / "data", 48)
    whole, cut = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    assert start(task, whole, scorer_url).wait(MAX_RUN_S) == 0
    process = start(task, cut, scorer_url, max_file_bytes=(whole / JOURNAL).stat().st_size // 2)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert process.wait(MAX_RUN_S) != 0
    assert "cannot write" in said
    assert "--resume" in said
    assert "Traceback" not in said
    assert not (cut / LABELS).exists()
    assert start(task, cut, scorer_url).wait(MAX_RUN_S) == 0
    for name in (JOURNAL, LABELS):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_a_scorer_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    task = planted.write_task(tmp_path / "data", 64)
    scorer, url = serve(tmp_path)
    try:
        whole, waited = tmp_path / "whole" / "run", tmp_path / "waited" / "run"
        assert start(task, whole, url).wait(MAX_RUN_S) == 0
        run = start(task, waited, url)
        while not (waited / JOURNAL).exists() or (waited / JOURNAL).read_bytes().count(b"\n") < 6:
            assert run.poll() is None
            time.sleep(0.01)
        scorer.kill()
        scorer.wait()
        time.sleep(1.0)
        assert run.poll() is None
        scorer, again = serve(tmp_path, int(url.rsplit(":", 1)[1]))
        assert again == url
        assert run.wait(MAX_RUN_S) == 0
    finally:
        scorer.kill()
        scorer.wait()
    for name in (JOURNAL, LABELS):
        assert (waited / name).read_bytes() == (whole / name).read_bytes()
