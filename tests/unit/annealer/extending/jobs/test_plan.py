"""The tokens of every mode are those of the plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import finished, planted
from tests.conftest import fake_scorer

from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Progress
from icm_annealer.extending.jobs import job
from icm_annealer.extending.jobs.modes import MODES
from icm_annealer.extending.jobs.plan import planned
from icm_annealer.extending.settings import ExtendSettings

SILENT = Progress(lambda text: None, lambda num: None, lambda num, usage: None)
OFF = {"shots": 0.05, "neighbours": 0.1, "batches": 0.25}
"""How far a plan may be off besides what it says itself: what is read behind a row's own neighbours depends on how many
begin with the same ones, and what a search costs on its answers."""


def write(path: Path, num: int, seed: int) -> None:
    """Rows of which no two are the same, or begin with the same words."""
    rows = planted.rows(num, seed)
    planted.write_rows(
        path, [row | {"words": f"{seed}{k * 7919 % 99991} {row['words']} {k}"} for k, row in enumerate(rows)]
    )


@pytest.mark.slow
async def test_tokens_are_as_planned(tmp_path: Path) -> None:
    task = planted.write_task(tmp_path / "data", 48)
    write(tmp_path / "data/data.jsonl", 48, 0)
    async with fake_scorer() as scorer:
        await finished.finished(scorer, tmp_path / "core", task)
    core, off = Core.read(tmp_path / "core"), {}
    for num_rows, modes in ((2000, ("shots", "neighbours")), (400, ("batches",))):
        write(tmp_path / "rows.jsonl", num_rows, 1)
        source = Source(tmp_path / "rows.jsonl", core.task, READ_AS_IT_IS)
        async with fake_scorer() as scorer:
            plan = await planned(core, source, ExtendSettings(), scorer, tokens_per_s=1.0)
        ways = {way.name: way for way in plan.ways}
        for mode in modes:
            settings = ExtendSettings(mode=mode)
            whole = job.ExtendJob(core, source, tmp_path / f"{mode}.jsonl", settings)
            whole.prepare()
            async with fake_scorer() as scorer:  # that has answered nothing yet
                done = await whole.run(await MODES[mode].open(scorer, core, settings, "default"), scorer, SILENT)
            off[mode] = abs(ways[mode].tokens - done.computed_tokens) / done.computed_tokens
            assert off[mode] < OFF[mode] + 2 * ways[mode].spread / ways[mode].tokens
            assert ways[mode].spread < 0.15 * ways[mode].tokens
    assert set(off) == set(MODES)


@pytest.mark.slow
async def test_the_check_that_many_rows_get_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MANY_ROWS", 100)
    task = planted.write_task(tmp_path / "data", 32)
    write(tmp_path / "rows.jsonl", 100, 1)
    async with fake_scorer() as scorer:
        await finished.finished(scorer, tmp_path / "core", task)
        core = Core.read(tmp_path / "core")
        source = Source(tmp_path / "rows.jsonl", core.task, READ_AS_IT_IS)
        usual, without = [
            (await planned(core, source, ExtendSettings(), scorer, num_checked=num, tokens_per_s=1.0)).ways[0].tokens
            for num in (None, 0)
        ]
    assert usual > without
