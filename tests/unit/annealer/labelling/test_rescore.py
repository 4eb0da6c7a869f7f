"""The engine's noise, measured by scoring again at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx import ASGITransport
from hypothesis import given
from hypothesis import strategies as st
from tests import planted
from tests.conftest import Serving

from icm_annealer.labelling.alarms import spread_alarms
from icm_annealer.labelling.label_dataset import Labelling, label_dataset
from icm_annealer.labelling.rescore import MAX_RESCORED, Rescored, rescored_queries
from icm_annealer.labelling.spread_alarm import MAX_SPREAD
from icm_annealer.runs.directory import COSTS, JOURNAL, LABELS, RunDir
from icm_annealer.searches.blocks import BlockSettings
from icm_annealer.searches.settings import Settings
from icm_client import ScorerClient, ScoreRequest, ScoreResponse, UnavailableError
from icm_server.engines.base import ReadAnswer
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

BLOCKS = BlockSettings(num_chains=1, max_passes=2)


class Noisy(FakeEngine):
    """Answers differ from time to time, as much as `noise` says."""

    noise = 0.5
    rng = np.random.default_rng(0)

    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        answer = await super().read(token_ids, target_ids, *rest)
        noise = self.noise * self.rng.standard_normal(len(answer.logprobs))
        return answer._replace(logprobs=np.minimum(np.array(answer.logprobs) + noise, 0.0).tolist())


class HardlyNoisy(Noisy):
    """As bfloat16 on a well-behaved engine."""

    noise = 0.01


async def labelled(scorer: ScorerClient, folder: Path, *, resume: bool = False, plan: str | None = None) -> Labelling:
    task, loaded = planted.load(planted.write_task(folder / "data", 40))
    run = RunDir(folder / "run")
    run.prepare(resume=resume)
    return await label_dataset(
        run, loaded.examples, task.task, scorer, Settings(plan=plan, options=BLOCKS), resume=resume
    )


@pytest.mark.parametrize("plan", ["folds=2", "tree", "fixed", "chain"])
async def test_the_same_prompts_are_asked_again_and_really_read(serving: Serving, tmp_path: Path, plan: str) -> None:
    async with serving(max_prompt_tokens=160) as scorer:  # contexts are cut, and end on cache blocks
        found = await labelled(scorer, tmp_path, plan=plan)
    rescored = found.rescored
    assert rescored is not None
    np.testing.assert_array_equal(rescored.first, rescored.again)
    assert len(rescored.first) == rescored.usage.num_reads == MAX_RESCORED
    assert rescored.usage.read_cache_prompts == 0
    assert "engine-spread" not in [alarm.code for alarm in found.alarms]
    costs = [json.loads(line) for line in (tmp_path / "run" / COSTS).read_text().splitlines()]
    assert [cost["num_reads"] for cost in costs if cost["pass"] is None] == [MAX_RESCORED]
    assert sum(cost["computed_tokens"] for cost in costs) == found.metrics.computed_tokens


async def test_a_noisy_engine_raises_the_alarm(serving: Serving, tmp_path: Path) -> None:
    async with serving(engine=Noisy) as scorer:
        found = await labelled(scorer, tmp_path)
        (alarm,) = [alarm for alarm in found.alarms if alarm.code == "engine-spread"]
        assert found.rescored is not None
        assert f"{found.rescored.spread:.2f} nats" in alarm.observation
        # A resumed run says the same, and asks nothing.
        journal = (tmp_path / "run" / JOURNAL).read_bytes()
        again = await labelled(scorer, tmp_path, resume=True)
    assert again.alarms == found.alarms
    assert again.metrics == found.metrics
    assert (tmp_path / "run" / JOURNAL).read_bytes() == journal


@pytest.mark.slow
async def test_last_digits_raise_none(serving: Serving, tmp_path: Path) -> None:
    async with serving(engine=HardlyNoisy) as scorer:
        found = await labelled(scorer, tmp_path)
    assert found.rescored is not None
    assert 0 < found.rescored.spread < MAX_SPREAD
    assert "engine-spread" not in [alarm.code for alarm in found.alarms]


@pytest.mark.slow
async def test_a_run_that_was_made_before_asks_nothing_of_the_engine(serving: Serving, tmp_path: Path) -> None:
    async with serving() as scorer:
        first = await labelled(scorer, tmp_path / "first")
        again = await labelled(scorer, tmp_path / "again")
    assert first.rescored is not None
    assert again.rescored is None
    assert again.metrics.computed_tokens == 0
    costs = (tmp_path / "again" / "run" / COSTS).read_bytes()
    async with serving() as other:  # which remembers nothing: it would have to read
        resumed = await labelled(other, tmp_path / "again", resume=True)
    assert resumed.rescored is None
    assert (tmp_path / "again" / "run" / COSTS).read_bytes() == costs
    assert again.run.labels.tolist() == first.run.labels.tolist()


class Ends(ScorerClient):
    """A scorer that is gone once the search is over."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        if request.fresh:
            raise UnavailableError("gone")
        return await super().score(request)


@pytest.mark.slow
async def test_a_scorer_that_is_gone_when_the_search_is_over_takes_nothing_from_the_run(tmp_path: Path) -> None:
    async def make_engine() -> FakeEngine:
        return FakeEngine()

    app = create_app(make_engine)
    async with app.router.lifespan_context(app), Ends("http://scorer", transport=ASGITransport(app=app)) as scorer:
        await scorer.wait_ready(30)
        found = await labelled(scorer, tmp_path)
    assert (tmp_path / "run" / LABELS).is_file()
    assert found.metrics.rescore_spread is None


def test_large_differences_raise_the_alarm() -> None:
    first = np.log([[0.6, 0.2], [0.1, 0.3]])
    for then, num in ((first, 0), (first * 1.01, 0), (first[:, ::-1], 1)):
        assert len(spread_alarms(Rescored(first, then))) == num


def test_a_spread_is_of_what_labels_differ_in() -> None:
    first = np.log([[0.6, 0.2], [0.1, 0.3]])
    assert Rescored(first, first + np.log(0.5)).spread == pytest.approx(0)  # the labels' common mass is not compared
    assert Rescored(first, first[:, ::-1]).num_changed == 2


@given(st.integers(1, 300))
def test_repeated_queries_are_some_of_those_asked(num: int) -> None:
    queries = np.arange(num) * 3
    chosen = rescored_queries(queries)
    assert len(set(chosen)) == len(chosen) == min(num, MAX_RESCORED)
    assert set(chosen) <= set(queries)
    assert chosen[0] == queries[0]
