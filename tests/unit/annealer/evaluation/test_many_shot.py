"""Accuracies with their intervals, and many-shot prompting behind given labels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests import planted

from icm_annealer.data.examples import labels_of
from icm_annealer.evaluation.intervals import median_over_seeds, wilson
from icm_annealer.evaluation.many_shot import ManyShot, accuracy, random_labels
from icm_client import ScorerClient, ScoreRequest


@pytest.mark.parametrize(
    ("num_right", "num", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (150, 200, 0.6857, 0.8050)],
)
def test_wilson_by_hand(num_right: int, num: int, low: float, high: float) -> None:
    estimate = wilson(num_right, num)
    assert estimate.value == num_right / num
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=2e-4)


def test_nothing_known_is_no_accuracy() -> None:
    estimate = accuracy(np.array([0, 1]), np.array([-1, -1]))
    assert math.isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_only_known_gold_counts() -> None:
    assert accuracy(np.array([0, 1, 1, 0]), np.array([0, 1, -1, 1])).value == pytest.approx(2 / 3)


def test_the_median_over_seeds_lies_in_its_interval() -> None:
    estimate = median_over_seeds([0.5, 0.9, 0.7, 0.8, 0.6])
    assert estimate.value == 0.7
    assert 0.5 <= estimate.low < 0.7 < estimate.high <= 0.9
    assert median_over_seeds([0.5, 0.9]) == median_over_seeds([0.5, 0.9])


async def test_gold_labels_prompt_better_than_none_and_wrong_ones_worse(tmp_path: Path, scorer: ScorerClient) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 48))
    gold = labels_of(loaded.examples, loaded.gold, loaded_task.task)
    train, test = loaded.examples[:24], loaded.examples[24:]
    many_shot = await ManyShot.open(scorer, loaded_task.task, train, test, await scorer.model())
    results = [
        accuracy((await many_shot.predict(labels)).raw, gold[24:]).value for labels in (None, gold[:24], 1 - gold[:24])
    ]
    assert results[1] >= 0.95
    assert results[2] <= 0.05
    assert 0.3 <= results[0] <= 0.7


async def test_test_examples_stand_in_no_context(tmp_path: Path, scorer: ScorerClient) -> None:
    """So a test example's answer does not depend on which others are tested."""
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 30))
    gold = labels_of(loaded.examples, loaded.gold, loaded_task.task)
    train, test = loaded.examples[:20], loaded.examples[20:]
    info = await scorer.model()
    alone = await ManyShot.open(scorer, loaded_task.task, train, test[:1], info, num_orders=1)
    together = await ManyShot.open(scorer, loaded_task.task, train, test, info, num_orders=1)
    zero = [(await many.predict(None)).logprobs[0].tolist() for many in (alone, together)]
    assert zero[0] == zero[1]
    # Another number of units draws another order, which this engine's sums feel in their last digits only.
    behind = [(await many.predict(gold[:20])).logprobs[0].tolist() for many in (alone, together)]
    assert behind[0] == pytest.approx(behind[1], abs=1e-9)


@pytest.mark.parametrize("num_shots", [0, 8])
async def test_a_preamble_stands_in_front_of_every_prompt(tmp_path: Path, scorer: ScorerClient, num_shots: int) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 20))
    task, train, test = loaded_task.task, loaded.examples[:num_shots], loaded.examples[10:]
    preamble = "Words: sun fire\nKind: hot"
    many_shot = await ManyShot.open(
        scorer, task, train, test, await scorer.model(), num_orders=1, preamble=preamble, seed=1
    )
    labels = np.arange(num_shots) % 2 if num_shots else None
    predicted = (await many_shot.predict(labels)).logprobs
    order = np.random.default_rng(1).permutation(len(train) + len(test))
    shots = [train[i].text + task.verbalizers[i % 2] for i in order if i < num_shots]
    prompts = ["\n\n".join([preamble, *shots, example.text]) for example in test]
    whole = await scorer.score(ScoreRequest(prompts=list(prompts), labels=[[" hot"], [" cool"]]))
    assert predicted.tolist() == whole.logprobs


def test_random_labels_are_drawn_from_all() -> None:
    labels = random_labels(1000, 4, np.random.default_rng(0))
    assert (np.bincount(labels, minlength=4) > 200).all()
