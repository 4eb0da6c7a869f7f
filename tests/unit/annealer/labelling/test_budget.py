"""A search stopped at its budget ends with its best answer so far; with a larger one it goes on as if never stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import planted
from tests.conftest import Serving

from icm_annealer.labelling.budget import NO_BUDGET, Budget
from icm_annealer.labelling.label_dataset import Labelling, label_dataset
from icm_annealer.runs.directory import JOURNAL, LABELS, LABELS_BEFORE, RunDir
from icm_annealer.runs.record import RunRecord
from icm_annealer.scoring.passes import Scorer
from icm_annealer.searches.gibbs import GibbsSettings
from icm_annealer.searches.settings import Settings
from icm_client import RequestError
from icm_server.config import ScoringConfig

FORGETFUL = ScoringConfig(read_cache_memory_bytes=0)
"""An engine is used for every prompt, also for one that was asked before."""
SEARCHES = [
    *("blocks", "growing", "zero_shot"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("official", "joint", "gibbs", "bootstrap")),
]


async def run(
    folder: Path, task_file: Path, scorer: Scorer, search: str, budget: Budget = NO_BUDGET, *, resume: bool = False
) -> Labelling:
    loaded_task, loaded = planted.load(task_file)
    options = GibbsSettings(num_burn_in=1, num_samples=2) if search == "gibbs" else None
    place, settings = RunDir(folder), Settings(search=search, seed=1, options=options)
    budget.check(settings)
    place.prepare(resume=resume)
    return await label_dataset(place, loaded.examples, loaded_task.task, scorer, settings, resume=resume, budget=budget)


def search_tokens(folder: Path) -> int:
    return sum(cost.computed_tokens for cost in RunRecord.read(folder).costs if cost.number is not None)


@pytest.mark.parametrize("search", SEARCHES)
async def test_a_budget_is_kept_and_a_larger_one_goes_on_to_the_same_bytes(
    tmp_path: Path, serving: Serving, search: str
) -> None:
    task_file = planted.write_task(tmp_path / "data", 16)
    async with serving(scoring=FORGETFUL, cache_tokens=0) as scorer:
        whole = await run(tmp_path / "whole", task_file, scorer, search)
        needed = search_tokens(tmp_path / "whole")
        assert whole.metrics.stopped_by is None
        part = tmp_path / "whole2" / "whole"
        for share in (0.6, 0.8):
            budget = Budget(max_tokens=int(share * needed))
            stopped = await run(part, task_file, scorer, search, budget, resume=share > 0.6)
            assert stopped.metrics.stopped_by == "tokens"
            assert "stopped at its budget" in stopped.metrics.verdict.observation
            assert "stopped-at-budget" in [alarm.code for alarm in stopped.alarms]
            assert len(RunRecord.read(part).rows()) == 16
            assert stopped.run.result.winner.us
            again = await run(part, task_file, scorer, search, budget, resume=True)
            assert again.had_ended
            assert (again.metrics.u, again.metrics.verdict) == (stopped.metrics.u, stopped.metrics.verdict)
        (part / LABELS).write_text((part / LABELS).read_text().replace('"label": "hot"', '"label": "cool"', 1))
        corrected = (part / LABELS).read_text()
        ended = await run(part, task_file, scorer, search, resume=True)
    assert (ended.metrics.stopped_by, ended.had_ended) == (None, False)
    assert (part / JOURNAL).read_bytes() == (tmp_path / "whole" / JOURNAL).read_bytes()
    assert (part / LABELS).read_bytes() == (tmp_path / "whole" / LABELS).read_bytes()
    assert (part / LABELS_BEFORE).read_text() == corrected


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.45, 0.7, 0.95])
async def test_the_end_fits_into_the_budget(tmp_path: Path, serving: Serving, share: float) -> None:
    task_file = planted.write_task(tmp_path / "data", 40)
    async with serving() as scorer:
        await run(tmp_path / "whole", task_file, scorer, "blocks")
    most = int(share * search_tokens(tmp_path / "whole"))
    async with serving() as scorer:  # remembers nothing of the first
        stopped = await run(tmp_path / "part", task_file, scorer, "blocks", Budget(max_tokens=most))
    assert stopped.metrics.stopped_by == "tokens"
    assert 0.5 * most < search_tokens(tmp_path / "part") <= most


async def test_minutes_stop_a_search(tmp_path: Path, serving: Serving) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    async with serving(delay_s=0.01) as scorer:
        stopped = await run(tmp_path / "run", task_file, scorer, "blocks", Budget(max_minutes=1e-4))
        assert stopped.metrics.stopped_by == "minutes"
        assert "of 0.0001 minutes" in stopped.metrics.verdict.observation


@pytest.mark.parametrize(
    ("budget", "search", "says"),
    [
        (Budget(max_tokens=50), "blocks", "too small"),
        (Budget(max_minutes=0.0), "blocks", "above 0"),
        (Budget(max_tokens=5000), "known_shots", "cannot be stopped"),
    ],
)
async def test_budgets_that_cannot_be_kept_are_refused(
    tmp_path: Path, serving: Serving, budget: Budget, search: str, says: str
) -> None:
    async with serving() as scorer:
        with pytest.raises(RequestError, match=says):
            await run(tmp_path / "run", planted.write_task(tmp_path / "data", 12), scorer, search, budget)
