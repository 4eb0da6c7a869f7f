"""The same search again on a real engine that remembers no reads: how far its numbers and labels move by themselves."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.programs import run_icm, scorer

from icm_annealer.runs.directory import JOURNAL
from icm_annealer.runs.journal import read_lines
from icm_annealer.runs.journal_lines import JournalLine
from icm_annealer.runs.schema.journal import PassLine


async def repeats(console: Console, repetitions: int) -> list[Figure]:
    """`icm run` on SmolLM2 with the same seed, each time asked anew; every run is compared with every other."""
    with tempfile.TemporaryDirectory() as folder:
        journals = []
        async with scorer("smollm2-135m", "--read-cache-memory-mb", "0") as server:
            for number in range(repetitions):
                out = Path(folder) / f"run{number}"
                await run_icm(server.url, out, 128)
                journals.append(list(read_lines(out / JOURNAL)))
                console.print(f"run {number + 1}: U {journals[-1][-1].u:+.4f}")
    pairs = list(itertools.combinations(journals, 2))
    differences = [_largest_difference(one, other) for one, other in pairs]
    labels = [float(np.mean(np.array(one[-1].labels) == other[-1].labels)) for one, other in pairs]
    us = [abs(one[-1].u - other[-1].u) for one, other in pairs]
    of = {"runs": repetitions, "task": "living", "examples": 128}
    return [
        Figure("repeat_labels", "labels that two runs with one seed share", labels, details=of),
        Figure("repeat_logprobs", "largest difference of a log-probability asked for by both", differences, details=of),
        Figure("repeat_u", "difference of their U, nats an example", us, details=of),
    ]


def _largest_difference(one: list[JournalLine], other: list[JournalLine]) -> float:
    """Over the passes in which both journals ask the same."""
    answers = {line.request.model_dump_json(): line.logprobs for line in one if isinstance(line, PassLine)}
    largest = 0.0
    for line in other:
        if isinstance(line, PassLine) and (answer := answers.get(line.request.model_dump_json())):
            largest = max(largest, float(np.abs(np.array(answer) - np.array(line.logprobs)).max()))
    return largest
