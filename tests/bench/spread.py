"""An extension over several scorers against one: throughput, tokens, and labels that are the same.

    python -m tests.bench spread

The fake engines take the time of a given speed, so several of them need no further processors.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from tests import finished
from tests.bench.extension import write_rows
from tests.bench.figure import Figure
from tests.bench.programs import scorer

from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Extension, Progress, by_contexts
from icm_annealer.extending.journal import LABELS
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.runs.costs import read_costs, spent
from icm_annealer.runs.directory import RunDir
from icm_client import ScorerClient

TOKENS_PER_S = 600
NUM_SCORERS = (1, 2, 4)
LEAST = {2: 1.8, 4: 3.4}
SILENT = Progress(lambda text: None, lambda num: None, lambda num, usage: None)


class Extended(NamedTuple):
    """One extension."""

    seconds: float
    computed_tokens: int
    labels: bytes


async def throughput(console: Console, num_rows: int) -> list[Figure]:
    """The same rows by one, two and four scorers that have answered nothing yet."""
    with tempfile.TemporaryDirectory() as name:
        place, found = Path(name), dict[int, Extended]()
        core = Core.read(await asyncio.to_thread(finished.finished_run, place / "core", 32))
        write_rows(place / "rows.jsonl", num_rows)
        for num in NUM_SCORERS:
            found[num] = await _extended(core, place / "rows.jsonl", place / str(num), num)
            console.print(f"{num}: {found[num].seconds:.1f} s, {found[num].computed_tokens:,} tokens")
    one = found.pop(1)
    assert all(several.labels == one.labels for several in found.values())
    what = f"an extension to {num_rows:,} rows, fake engines of {TOKENS_PER_S} tokens a second"
    figures = list[Figure]()
    for num, several in found.items():
        speedup, tokens = one.seconds / several.seconds, several.computed_tokens / one.computed_tokens
        figures += [
            Figure(f"spread_{num}", f"{num} scorers / one: throughput of {what}", [speedup], at_least=LEAST[num]),
            Figure(f"spread_{num}_tokens", f"{num} scorers / one: computed tokens of {what}", [tokens]),
        ]
    return figures


async def _extended(core: Core, rows: Path, folder: Path, num: int) -> Extended:
    speed = ("--engine-arg", f"tokens_per_s={TOKENS_PER_S}", "--read-cache-memory-mb", "64")
    folder.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(scorer("fake", *speed, engine="fake")) for _ in range(num)]
        client = await stack.enter_async_context(ScorerClient(",".join(server.url for server in servers)))
        await client.wait_ready(60.0)
        settings = ExtendSettings(shots=8)
        by = await by_contexts(client, core, settings, "spread")
        start = time.perf_counter()
        source = Source(rows, core.task, READ_AS_IT_IS)
        await Extension(core, source, by, settings, RunDir(folder), SILENT).run()
        seconds = time.perf_counter() - start
    return Extended(seconds, spent(read_costs(folder)).usage.computed_tokens, (folder / LABELS).read_bytes())
