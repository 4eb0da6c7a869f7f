"""Batches with a search each: labels as the core calls them, the same after a kill, and compared on shared examples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests import finished, planted
from tests.conftest import Serving

from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Progress
from icm_annealer.extending.jobs.batches import BATCHES, by_batches
from icm_annealer.extending.jobs.job import ExtendJob
from icm_annealer.extending.journal import JOURNAL, METRICS
from icm_annealer.extending.settings import ExtendSettings
from icm_client import RequestError, ScorerClient

SETTINGS = ExtendSettings(mode="batches")
SILENT = Progress(lambda text: None, lambda num: None, lambda num, usage: None)


async def test_rows_that_do_not_fit_the_window_are_found_before_any_search(serving: Serving, tmp_path: Path) -> None:
    rows = planted.rows(60, 1)
    rows[50]["words"] = "red " * 400
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    async with serving(max_prompt_tokens=300) as scorer:
        await finished.finished(scorer, tmp_path / "core", planted.write_task(tmp_path / "data", 32))
        with pytest.raises(RequestError, match=r"row 51: 405 tokens: of the model.s window, 284 are left"):
            await extended(scorer, Core.read(tmp_path / "core"), tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl.extension" / BATCHES).exists()


async def extended(scorer: ScorerClient, core: Core, rows: Path, out: Path, *, resume: bool = False) -> ExtendJob:
    job = ExtendJob(core, Source(rows, core.task, READ_AS_IT_IS), out, SETTINGS, resume=resume)
    by = await by_batches(scorer, core, SETTINGS, "default")
    assert by.searches is not None
    job.prepare()
    await job.run(by._replace(searches=by.searches._replace(rows=30)), scorer, SILENT)
    return job


@pytest.mark.slow
async def test_batches_are_searched_each_by_itself(serving: Serving, tmp_path: Path) -> None:
    rows = planted.rows(80, 1)
    rows[3]["given"] = "hot" if rows[3]["label"] == "cool" else "cool"
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    async with serving() as scorer:
        task = planted.write_task(tmp_path / "data", 32, task=f"{planted.TASK}known: given\n")
        await finished.finished(scorer, tmp_path / "core", task)
        core = Core.read(tmp_path / "core")
        job = await extended(scorer, core, tmp_path / "rows.jsonl", tmp_path / "whole.jsonl")
        found = [json.loads(line) for line in job.out.read_text().splitlines()]
        names, gold = core.task.label_names, {row["id"]: row["label"] for row in planted.rows(32)}
        in_core = [names[k] == gold[e.id] for e, k in zip(core.examples, core.labels, strict=True)]
        is_named = sum(in_core) > 16
        right = [(line["label"] == row["label"]) == is_named for line, row in zip(found, rows, strict=True)]
        assert sum(right) >= 76
        assert (found[3]["label"], found[3]["known"], found[3]["certainty"]) == (rows[3]["given"], True, 1.0)
        assert sorted(path.name for path in (job.folder / BATCHES).iterdir()) == ["000000", "000001", "000002"]
        shared = json.loads((job.folder / METRICS).read_text())["shared"]
        assert (shared["num"], shared["num_searches"]) == (16, 3)
        assert min(shared["with_each_other"], shared["with_core"]) > 0.9
        # As a process that was killed in the second batch leaves it.
        killed = tmp_path / "killed.jsonl.extension"
        shutil.copytree(job.folder.path, killed)
        lines = (killed / JOURNAL).read_bytes().splitlines(keepends=True)
        (killed / JOURNAL).write_bytes(b"".join(lines[:3]))
        shutil.rmtree(killed / BATCHES / "000002")
        (killed / BATCHES / "000001" / "labels.jsonl").unlink()
        again = await extended(scorer, core, tmp_path / "rows.jsonl", tmp_path / "killed.jsonl", resume=True)
        assert again.out.read_bytes() == job.out.read_bytes()
