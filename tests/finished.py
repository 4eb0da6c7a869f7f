"""Finished runs: searches over planted data, in folders as `icm run` leaves them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests import planted
from tests.conftest import fake_scorer

from icm_annealer.data.task import Task
from icm_annealer.labelling.label_dataset import Labelling, label_dataset
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.schema.journal import ContextWindow, RunHeader, RunSettings
from icm_annealer.searches.blocks import BlockSettings
from icm_annealer.searches.settings import Settings
from icm_client import ScorerClient
from icm_client.contract.wire import ModelIdentity

PAIRS = (
    planted.TASK.replace("planted", "planted-pairs")
    + """\
group: pair
leave_out: group
rules:
  - {kind: exactly_one, label: hot}
"""
)

HEADER = RunHeader(
    settings=RunSettings(search="blocks", seed=0, alpha=50.0, model="base"),
    task=Task(name="t", template="{a}", labels={"x": " x", "y": " y"}),
    data="digest",
    model=ModelIdentity(name="fake", digest="d", dtype="float32", engine="fake"),
    window=ContextWindow(max_prompt_tokens=100, cache_block_tokens=1),
    ids=["0", "1"],
)
"""A journal's first line."""


def finished_run(folder: Path, num: int = 8) -> Path:
    """The folder of a finished run of planted data, found with a scorer of its own."""

    async def make() -> None:
        async with fake_scorer() as scorer:
            await finished(scorer, folder / "run", planted.write_task(folder / "data", num))

    asyncio.run(make())
    return folder / "run"


async def finished(
    scorer: ScorerClient, folder: Path, task_file: Path, *, seed: int = 0, num: int | None = None
) -> Labelling:
    """Labels the task's own data into `folder`; a short search, since nothing here depends on how good it is."""
    loaded_task, loaded = planted.load(task_file)
    run = RunDir(folder)
    run.prepare(overwrite=True)
    settings = Settings(seed=seed, options=BlockSettings(num_chains=2, max_passes=4, num_hot_passes=1))
    return await label_dataset(run, loaded.examples[:num], loaded_task.task, scorer, settings)
