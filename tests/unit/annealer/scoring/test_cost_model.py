"""Counted costs against what the fake engine's prefix cache, which is of the same kind, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import planted
from tests.conftest import Serving

from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.scoring.cost_model import PassTokens, PrefixCache
from icm_annealer.scoring.passes import PassRequest, PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_client import ScorerClient
from icm_server.config import ScoringConfig

WORDS = Task(name="words", template="Word: {word}\nKind:", labels={"hot": " hot", "cool": " cool"})


def words(num: int, rng: np.random.Generator) -> list[Example]:
    """Texts of several lengths, no two of which share a token behind the template's first ones."""
    sizes = rng.integers(1, 6, num)
    return [
        Example(str(k), f"Word: {' '.join(f'w{k}-{n}' for n in range(size))}\nKind:", None, {})
        for k, size in enumerate(sizes)
    ]


FORGETFUL = ScoringConfig(read_cache_memory_bytes=0)
"""Every prompt is read, also one that was read before."""


async def counted_and_measured(
    scorer: ScorerClient,
    task: Task,
    examples: list[Example],
    requests: list[PassRequest],
    units: Any,
    preamble: str = "",
) -> tuple[list[int], list[int]]:
    model = await scorer.model()
    passes = await PassScorer.open(scorer, task, examples, units, model, preamble=preamble)
    cache = PrefixCache(await PassTokens.of(passes), model.cache_block_tokens)
    counted = [cache.compute(passes.plan(request), request.labels) for request in requests]
    return counted, [(await passes.score(request)).usage.computed_tokens for request in requests]


def many_asks(num: int, num_units: int, rng: np.random.Generator) -> list[PassRequest]:
    """Passes of all kinds, some of which another one repeats in part or whole."""
    labels = rng.integers(2, size=num)
    order = rng.permutation(num_units)
    requests = [PassRequest(np.full(num, -1), np.arange(num), order, PlanKind("tree"))]
    for plan in ("tree", "fixed", "folds=2", "folds=3", "chain"):
        requests.append(PassRequest(labels, np.arange(num), order, PlanKind.parse(plan)))
        flipped = labels.copy()
        flipped[rng.integers(num)] ^= 1
        requests.append(PassRequest(flipped, np.arange(num), order, PlanKind.parse(plan)))
        some = np.where(rng.random(num) < 0.3, labels, -1)
        requests.append(
            PassRequest(some, np.sort(rng.permutation(num)[: num // 2]), rng.permutation(num_units), PlanKind("tree"))
        )
    return [*requests, requests[3], requests[0]]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("unit_size", "preamble"), [(1, ""), (3, ""), (1, "Once upon a time."), (1, "p " * 15 + "p")])
async def test_counts_are_the_engines_where_texts_share_no_tokens(
    serving: Serving, unit_size: int, preamble: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    examples = words(30, rng)
    units = np.arange(30).reshape(-1, unit_size)
    async with serving(scoring=FORGETFUL) as scorer:
        counted, measured = await counted_and_measured(
            scorer, WORDS, examples, many_asks(30, len(units), rng), list(units), preamble
        )
    assert counted == measured
    assert counted[-1] == measured[-1] > 0  # all is in the cache, but the last tokens are computed all the same


async def test_counts_are_close_where_texts_share_words(tmp_path: Path, serving: Serving) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 40))
    requests = many_asks(40, 40, np.random.default_rng(0))
    async with serving(scoring=FORGETFUL) as scorer:
        counted, measured = await counted_and_measured(
            scorer, loaded_task.task, loaded.examples, requests, list(np.arange(40).reshape(-1, 1))
        )
    assert sum(measured) <= sum(counted) <= 1.05 * sum(measured)


async def test_one_example_and_texts_that_are_alike(serving: Serving) -> None:
    examples = [Example("0", "Word: one\nKind:", None, {})]
    async with serving(scoring=FORGETFUL) as scorer:
        requests = [PassRequest(np.array([0]), np.array([0]), np.array([0]), PlanKind("tree"))]
        counted, measured = await counted_and_measured(scorer, WORDS, examples, requests, [np.array([0])])
    assert counted == measured == [4]
