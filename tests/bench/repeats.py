"""The same search again on a real engine that remembers no reads: how far its numbers and labels move by themselves."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.programs import scorer

from icm_annealer.journal import read_journal
from icm_annealer.rundir import JOURNAL


async def repeats(console: Console, repetitions: int) -> list[Figure]:
    """`icm run` on SmolLM2 with the same seed, each time asked anew; every run is compared with every other."""
    with tempfile.TemporaryDirectory() as folder:
        journals = []
        async with scorer("smollm2-135m", "--reuse-memory-mb", "0") as server:
            for number in range(repetitions):
                out = Path(folder) / f"run{number}"
                await _run(server.url, out)
                journals.append(list(read_journal(out / JOURNAL)))
                console.print(f"run {number + 1}: U {journals[-1][-1]['u']:+.4f}")
    pairs = list(itertools.combinations(journals, 2))
    differences = [_largest_difference(one, other) for one, other in pairs]
    labels = [float(np.mean(np.array(one[-1]["labels"]) == other[-1]["labels"])) for one, other in pairs]
    us = [abs(one[-1]["u"] - other[-1]["u"]) for one, other in pairs]
    of = {"runs": repetitions, "task": "living", "examples": 128}
    return [
        Figure("repeat_labels", "labels that two runs with one seed share", labels, details=of),
        Figure("repeat_logprobs", "largest difference of a log-probability asked for by both", differences, details=of),
        Figure("repeat_u", "difference of their U, nats an example", us, details=of),
    ]


async def _run(url: str, out: Path) -> None:
    command = ["-m", "icm_annealer.cli", "run", "--task", "living", "--examples", "128", "--scorer", url]
    run = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        "--out",
        str(out),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complained = await run.communicate()
    assert run.returncode == 0, complained


def _largest_difference(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """Over the passes in which both journals ask the same."""
    answers = {json.dumps(line["ask"]): line["logprobs"] for line in one if line["kind"] == "pass"}
    largest = 0.0
    for line in other:
        if line["kind"] == "pass" and (answer := answers.get(json.dumps(line["ask"]))):
            largest = max(largest, float(np.abs(np.array(answer) - np.array(line["logprobs"])).max()))
    return largest
