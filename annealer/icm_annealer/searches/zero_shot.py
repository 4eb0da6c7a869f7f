"""Calibrated zero-shot: every example without context, calibrated over the batch (arXiv 2309.17249)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icm_annealer.core.objective import calibrated
from icm_annealer.search.base import Problem, Search, weigh_alone, zero_shot_request
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind


@dataclass(frozen=True)
class ZeroShotSettings:
    """Options of the zero-shot baseline."""

    num_final_orders: int = 3


def zero_shot(problem: Problem, settings: ZeroShotSettings, seed: int) -> Search:
    """One pass without context; the seed affects only the orders on which the labels are evaluated."""
    (answer,) = yield [zero_shot_request(problem)]
    scores = calibrated(answer.logprobs)
    labels = problem.best(scores)
    rng = np.random.default_rng(seed)
    return (yield from weigh_alone(problem, "zero-shot", labels, answer, settings.num_final_orders, rng, scores))


ZERO_SHOT = SearchKind(
    "zero_shot",
    "every example alone, calibrated",
    ZeroShotSettings,
    zero_shot,
    expected_passes=lambda settings, num: ExpectedPasses(1 + settings.num_final_orders),
    expected_shots=lambda settings, num: 1.0 * num,
    can_stop=True,
    respects_rates=True,
    presets=(Preset("zero_shot", ZeroShotSettings(num_final_orders=0), takes_part="always"),),
)
