"""Trials of templates: what they measure, and how they are ranked."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests import planted
from tests.conftest import Serving

from icm_annealer.evaluation.template_trial import Trial, kappa, ranked, try_task


async def test_halves_agree_where_there_is_something_to_find(serving: Serving, tmp_path: Path) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 128))
    task = loaded_task.task
    async with serving() as scorer:
        found = await try_task(task, loaded.examples, scorer, seed=0)
        few = await try_task(task, loaded.examples[:3], scorer, seed=0)
    assert found.mass > 0.5 > found.zero_shot_mass
    assert found.agreement > 0.5
    assert 0.05 < found.coherence < math.log(2)
    assert (found.num_queries, found.num_shots) == (64, 16)
    assert math.isnan(few.agreement)
    assert math.isnan(few.coherence)
    assert few.score == few.zero_shot_mass


async def test_a_refusal_is_a_result(serving: Serving, tmp_path: Path) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 24))
    merging = loaded_task.task.model_copy(update={"labels": {"hot": "hot", "cool": "cool"}})
    async with serving() as scorer:
        trials = [await try_task(task, loaded.examples, scorer, seed=0) for task in (merging, loaded_task.task)]
    assert "merges" in str(trials[0])
    assert ranked(trials) == [1, 0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 1, 0, 1], [0, 1, 0, 1], 1.0),
        ([0, 1, 0, 1], [1, 0, 1, 0], -1.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([1, 1], [1, 1], 0.0),
    ],
)
def test_kappa(first: list[int], second: list[int], expected: float) -> None:
    assert kappa(np.array(first), np.array(second), 2) == pytest.approx(expected)


def test_of_equals_the_earlier_stays_first() -> None:
    trials = [Trial(64, 0.1, 0.9, 1.0, coherence, 16) for coherence in (0.2, 0.5, 0.5)]
    assert ranked(trials) == [1, 2, 0]
