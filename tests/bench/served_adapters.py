"""Tuned models on a scorer beside transformers: how far their log-probabilities differ, and what an adapter costs.

    python -m tests.bench.served_adapters MODEL MODEL

Each MODEL is a folder of `icm train sft` or `icm train rm`, an adapter on the same base; the first one is merged, too
(`--merge`). Both are asked at once.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from tests.bench.programs import scorer

from icm_annealer.console.terminal import Terminal
from icm_annealer.core.arrays import Array
from icm_annealer.data.task import Task
from icm_client.client import ScorerClient
from icm_server.config import ServerConfig
from icm_trainer.rm.record import PAIRS_USED
from icm_trainer.sft.classifier import TunedClassifier
from icm_trainer.sft.record import LABELS_USED, MERGED

NUM_TEXTS, REPETITIONS = 200, 3
DTYPES = ("float32", "bfloat16")


class Tuned:
    """A tuned model, and what transformers answers with it."""

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name
        classifier = TunedClassifier.load(folder, ServerConfig().cache.expanduser())
        self.task: Task = classifier.record.task
        self.base = classifier.record.base.name
        self.texts = _texts(folder)[:NUM_TEXTS]
        self.logprobs = classifier.logprobs(self.texts)

    async def answer(self, client: ScorerClient, model: str) -> Array:
        """[text, label], of reads that no cache answers."""
        labels = [self.task.labels[name] for name in self.task.label_names]
        answered = await client.score(prompts=self.texts, labels=labels, model=model, fresh=True)
        return np.array(answered.logprobs)


def _texts(folder: Path) -> list[str]:
    """What the model was made of."""
    pairs = folder / PAIRS_USED
    rows = [json.loads(line) for line in (pairs if pairs.exists() else folder / LABELS_USED).read_text().splitlines()]
    return list({row[field]: None for row in rows for field in ("text", "chosen", "rejected") if field in row})


async def main(folders: list[Path]) -> None:
    tuned = [Tuned(folder, f"tuned{number}") for number, folder in enumerate(folders)]
    for dtype in DTYPES:
        given = [argument for one in tuned for argument in ("--adapter", f"{one.name}={one.folder}")]
        async with _client(tuned[0].base, dtype, *given) as client:
            answers = await asyncio.gather(*(one.answer(client, one.name) for one in tuned))
            for one, found in zip(tuned, answers, strict=True):
                off = np.abs(found - one.logprobs)
                same = np.mean(found.argmax(1) == one.logprobs.argmax(1))
                Terminal().say(
                    f"{dtype} {one.name}: off by {off.max():.1e}, median {np.median(off):.1e}; {same:.3f} same labels"
                )
            if dtype == "bfloat16":
                await _time("base model, adapters allowed", tuned, client, ["base"])
                await _time("an adapter", tuned, client, [tuned[0].name])
                await _time("two adapters at once", tuned, client, [one.name for one in tuned])
    async with _client(tuned[0].base, "bfloat16") as client:
        await _time("base model", tuned, client, ["base"])
    async with _client(str(tuned[0].folder / MERGED), "bfloat16") as client:
        await _time("merged", tuned, client, ["base"])


async def _time(what: str, tuned: list[Tuned], client: ScorerClient, models: list[str]) -> None:
    seconds = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        await asyncio.gather(*(one.answer(client, model) for one, model in zip(tuned, models, strict=False)))
        seconds.append(time.perf_counter() - start)
    num_texts = sum(len(one.texts) for one, _ in zip(tuned, models, strict=False))
    a_text = [1000 * one / num_texts for one in seconds[1:]]  # the first warms up
    Terminal().say(
        f"{what}: {statistics.median(a_text):.2f} ms a text ({min(a_text):.2f}-{max(a_text):.2f}, {REPETITIONS})"
    )


@asynccontextmanager
async def _client(model: str, dtype: str, *options: str) -> AsyncIterator[ScorerClient]:
    async with scorer(model, "--dtype", dtype, *options) as server, ScorerClient(server.url) as client:
        yield client


if __name__ == "__main__":
    asyncio.run(main([Path(folder) for folder in sys.argv[1:]]))
