"""The tokens of every mode are those of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from tests import finished, planted
from tests.conftest import fake_scorer
from tests.several import several

from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Progress
from icm_annealer.extending.jobs import job, plan
from icm_annealer.extending.jobs.costs import Planning, cost_of
from icm_annealer.extending.jobs.modes import MODES
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.survey import survey
from icm_annealer.scoring.forecast import TokenRange

SILENT = Progress(lambda text: None, lambda num: None, lambda num, usage: None)


def write(path: Path, num: int, seed: int) -> None:
    """Rows of which no two are the same, or begin with the same words."""
    rows = planted.rows(num, seed)
    planted.write_rows(
        path, [row | {"words": f"{seed}{k * 7919 % 99991} {row['words']} {k}"} for k, row in enumerate(rows)]
    )


class Costs(NamedTuple):
    """Of one extension."""

    planned: TokenRange
    computed: int


async def costs(core: Core, rows: Path, mode: str, hosts: str) -> Costs:
    """With a scorer for each letter of `hosts`, which have answered nothing yet."""
    settings, source = ExtendSettings(mode=mode), Source(rows, core.task, READ_AS_IT_IS)
    async with several(hosts) as (client, _):
        by = await MODES[mode].open(client, core, settings, "default")
        found = await survey(source, client, by.most_row_tokens, settings, lambda text: None, num_drawn=2048)
        tokens = (await cost_of(Planning(core, source, settings, client, found), MODES[mode].open)).number
    whole = job.ExtendJob(core, source, rows.with_name(f"{mode}-{hosts}.jsonl"), settings)
    whole.prepare()
    async with several(hosts) as (client, _):
        done = await whole.run(await MODES[mode].open(client, core, settings, "default"), client, SILENT)
    return Costs(tokens, done.computed_tokens)


@pytest.mark.slow
async def test_tokens_are_as_planned(tmp_path: Path) -> None:
    task = planted.write_task(tmp_path / "data", 48)
    write(tmp_path / "data/data.jsonl", 48, 0)
    async with fake_scorer() as scorer:
        await finished.finished(scorer, tmp_path / "core", task)
    core, found = Core.read(tmp_path / "core"), dict[str, Costs]()
    for mode, hosts, num in (
        ("shots", "a", 500),
        ("shots", "ab", 500),
        ("neighbours", "a", 500),
        ("batches", "a", 120),
    ):
        write(tmp_path / "rows.jsonl", num, 1)
        found[f"{mode} {hosts}"] = await costs(core, tmp_path / "rows.jsonl", mode, hosts)
    assert {name.split()[0] for name in found} == set(MODES)
    for way, computed in found.values():
        assert way.least < way.usual < way.most
        assert way.least <= computed <= way.most
    one, two = found["shots a"], found["shots ab"]
    assert one.planned.most - one.planned.least < 0.25 * one.planned.usual
    # As many rows are unclear: the difference is that both compute the contexts, and a part of the sample twice.
    more = two.computed - one.computed
    assert more > 0.05 * one.computed
    assert two.planned.usual - one.planned.usual == pytest.approx(more, rel=0.2)


@pytest.mark.slow
async def test_the_check_that_many_rows_get_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MANY_ROWS", 40)
    monkeypatch.setattr(plan, "MODES", {"shots": MODES["shots"]})
    task = planted.write_task(tmp_path / "data", 16)
    write(tmp_path / "rows.jsonl", 40, 1)
    async with fake_scorer() as scorer:
        await finished.finished(scorer, tmp_path / "core", task)
        core = Core.read(tmp_path / "core")
        source = Source(tmp_path / "rows.jsonl", core.task, READ_AS_IT_IS)
        plans = [
            await plan.planned(core, source, ExtendSettings(), scorer, num_checked=num, tokens_per_s=1.0)
            for num in (None, 0)
        ]
    usual, without = (one.ways[0].tokens for one in plans)
    assert usual > without
