"""What the front of a scorer can do: the process that has the queue, plans and answers, without its engines.

Processor time is measured, not time, so a busy machine is good enough, and what the fake engines take does not count.
"""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from tests import planted
from tests.bench.figure import Figure
from tests.bench.passes import RNG, fresh
from tests.bench.programs import front_scorer

from icm_annealer.extending.neighbours import NUM_NEIGHBOURS
from icm_client import ScorerClient, ScoreRequest

NUM_SHOTS, NUM_ROWS = 64, 4096
"""Of a context, and of a chunk of `icm extend`."""
NUM_CORE = 128
NUM_WORDS = 20
"""So that a claim has the 37 tokens of TruthfulQA's, with its label."""
WORDS = [*planted.WARM, *planted.COLD]


def claims(num: int) -> list[str]:
    """Texts that nobody has asked about."""
    drawn = RNG.choice(WORDS, (num, NUM_WORDS)).tolist()
    return [
        f"\n\nQuestion: {' '.join(words[:12])}\nClaim: {' '.join(words[12:])}\nI think this claim is" for words in drawn
    ]


def chunk() -> ScoreRequest:
    """Rows behind one context, as an extension asks for them."""
    shots = [f"{text} {'True' if number % 2 else 'False'}" for number, text in enumerate(claims(NUM_SHOTS))]
    return ScoreRequest(
        segments=[*shots, *claims(NUM_ROWS)],
        prefixes=[[None, *range(NUM_SHOTS)]],
        prompts=[[0, NUM_SHOTS + row] for row in range(NUM_ROWS)],
        labels=[" True", " False"],
        terminator="\n\n",
    )


def behind_neighbours() -> ScoreRequest:
    """The quarter of a chunk's rows that `--mode neighbours` reads behind shots of their own."""
    shots = [f"{text} {'True' if number % 2 else 'False'}" for number, text in enumerate(claims(NUM_CORE))]
    rows = claims(NUM_ROWS // 4)
    return ScoreRequest(
        segments=[*shots, *rows],
        prefixes=[[None, *RNG.choice(NUM_CORE, NUM_NEIGHBOURS, replace=False).tolist()] for _ in rows],
        prompts=[[row, NUM_CORE + row] for row in range(len(rows))],
        labels=[" True", " False"],
        terminator="\n\n",
    )


def processor_s(pid: int) -> float:
    """The processor time of a process so far, without its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def front(console: Console, repetitions: int) -> list[Figure]:
    """Reads a processor second: of an extension's chunks, of rows behind their neighbours, of passes of a search."""
    found: dict[str, list[float]] = {"rows of an extension": [], "rows behind neighbours": [], "reads of passes": []}
    async with front_scorer() as server, ScorerClient(server.url) as client:
        for number in range(repetitions + 1):
            passes = [await fresh(client, 128, 37, "folds=2") for _ in range(16)]
            for name, requests in zip(found, ([chunk()], [behind_neighbours()], passes), strict=True):
                before = processor_s(server.pid)
                for request in requests:
                    await client.score(request)
                if number:  # the first time warms up
                    num_reads = sum(len(request.prompts) for request in requests)
                    found[name].append(num_reads / (processor_s(server.pid) - before))
                    console.print(f"{name}: {found[name][-1]:,.0f} a second")
    return [
        Figure(f"front_{name.split()[-1]}", f"{name} / processor seconds of the front", values, unit="1/s")
        for name, values in found.items()
    ]
