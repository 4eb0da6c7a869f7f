"""`icm sweep --ray` on a cluster of two nodes on this machine, one of which is killed. Needs the extra `ray`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import wait_for

from icm_annealer.runs.directory import COSTS, JOURNAL, LABELS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"),
]
SWEEP = """\
tasks: {planted: task.yaml}
settings:
  long: {search: blocks, chains: 2, passes: 100}
  zero: zero_shot
seeds: 4
"""
RUNS = [f"planted.{setting}.scorer/seed-{seed}" for setting in ("long", "zero") for seed in range(4)]
ENVIRONMENT = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
MEMORY = 80_000_000
"""Of a node's object store, in bytes: about the least."""
LIMIT_S = 240.0
"""Patience on a busy machine; a node starts in about ten seconds on an idle one."""


@contextlib.contextmanager
def node(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node, whose processes all end with this one."""
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--object-store-memory={MEMORY}"]
    with subprocess.Popen([*start, *options], env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster with one node, of one CPU."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = f"127.0.0.1:{port}"

    def answers() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    temporary = str(tmp_path_factory.mktemp("ray"))
    options = ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={temporary}", "--num-cpus=1"]
    with node(*options, "--include-dashboard=false") as process:
        wait_for(process, answers, LIMIT_S)
        yield place


def command(file: Path, out: Path, url: str, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "icm_annealer.cli.app",
        "sweep",
        str(file),
        f"--out={out}",
        f"--scorer={url}",
        *options,
    ]


def passes(out: Path) -> dict[Path, int]:
    """The passes in the journal of each run that is begun."""
    return {path.parent: path.read_text().count('"kind":"pass"') for path in out.glob(f"*/*/{JOURNAL}")}


def num_running(out: Path) -> int:
    """The runs that have a pass, and no labels yet."""
    return sum(num > 0 and not (run / LABELS).exists() for run, num in passes(out).items())


def test_what_a_lost_node_and_a_killed_sweep_had_made_is_kept(address: str, url: str, tmp_path: Path) -> None:
    planted.write_task(tmp_path, 48)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    out, plain = tmp_path / "ray", tmp_path / "plain"
    on_ray = command(tmp_path / "sweep.yaml", out, url, "--ray", address, "--json")
    with (
        node(f"--address={address}", "--num-cpus=2") as second,
        subprocess.Popen(on_ray, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process,
    ):
        wait_for(process, lambda: num_running(out) >= 2, LIMIT_S)  # on both nodes, since the first one has one CPU
        second.kill()
        at_kill = sum(passes(out).values())
        wait_for(process, lambda: sum(passes(out).values()) >= at_kill + 10, LIMIT_S)
        process.kill()
    ended = subprocess.run(on_ray, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["groups"][0]["num_done"] == 4
    subprocess.run(command(tmp_path / "sweep.yaml", plain, url), check=True, capture_output=True)
    for name in RUNS:
        for file in (JOURNAL, LABELS):
            assert (out / name / file).read_bytes() == (plain / name / file).read_bytes()
        made = [json.loads(line)["pass"] for line in (out / name / COSTS).read_text().splitlines()]
        assert len(made) == len(set(made))  # no pass was made twice
