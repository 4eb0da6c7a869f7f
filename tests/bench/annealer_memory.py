"""The memory that `icm run` takes at most, on a fake engine in another process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from tests import planted
from tests.bench.figure import Figure
from tests.http_app import running

from icm_client import SyncScorerClient
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

MB = 10**6
RUN = """\
import sys
from pathlib import Path
from icm_annealer.cli.app import main
figure = Path(sys.argv.pop(1))
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "vllm", "transformers"} & set(sys.modules)
assert not heavy, heavy
figure.write_text(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""Tells the peak of its own resident memory: what the kernel tells a parent counts the parent's, up to the start."""


async def annealer_memory(console: Console) -> list[Figure]:
    """Peaks of whole runs, at 100,000 examples of two chains with a pass each."""
    figures = []
    for num, chains, passes, limit in ((1_000, 3, 12, 300), (100_000, 2, 1, 1000)):
        with tempfile.TemporaryDirectory() as folder:
            peak = await asyncio.to_thread(peak_bytes, Path(folder), num, chains, passes) / MB
        console.print(f"{num:,} examples: {peak:.0f} MB")
        what = f"the annealer's peak at {num:,} examples"
        figures.append(Figure(f"annealer_memory_{num}", what, [peak], at_most=limit, unit="MB"))
    return figures


def peak_bytes(folder: Path, num: int, chains: int, passes: int) -> int:
    """The most that a run of `num` made examples has in memory. Its engine's window holds few of them, to be quick."""
    task = planted.write_task(folder / "data", 2)
    rng = np.random.default_rng(0)
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(num):
            words = " ".join(rng.choice(planted.WARM if number % 2 else planted.COLD, 4, replace=False))
            file.write(json.dumps({"words": f"{words} {number}"}) + "\n")

    async def make_engine() -> FakeEngine:
        return FakeEngine(max_prompt_tokens=127)

    with running(create_app(make_engine)) as url:
        with SyncScorerClient(url) as client:
            client.wait_ready(30)
        command = [sys.executable, "-c", RUN, folder / "peak", "run", "--task", task, "--data", folder / "rows.jsonl"]
        command += ["--out", folder / "run", "--scorer", url, "--chains", str(chains), "--passes", str(passes)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return int((folder / "peak").read_text().split()[1]) * 1024
