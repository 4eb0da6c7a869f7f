"""Few-shot prompting with the known labels alone: what they are worth without a search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icm_annealer.core.objective import calibrated
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Search, weigh_alone, zero_shot_request
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind

TREE = PlanKind("tree")


@dataclass(frozen=True)
class KnownShotsSettings:
    """Options of prompting with known labels."""

    num_orders: int = 2
    """Orders of the known examples over which the log-probabilities are averaged."""
    num_final_orders: int = 3


def known_shots(problem: Problem, settings: KnownShotsSettings, seed: int) -> Search:
    """Every other example behind all known ones, calibrated over these examples. The zero-shot pass is only for
    comparison."""
    rng, order_rng = np.random.default_rng(seed).spawn(2)
    (zero_shot,) = yield [zero_shot_request(problem)]
    others = np.flatnonzero(~problem.is_known)
    scores = np.zeros((problem.num_examples, problem.num_labels))
    if len(others):
        shots = problem.held(np.full(problem.num_examples, -1))
        orders = [rng.permutation(len(problem.units)) for _ in range(settings.num_orders)]
        answers = yield [PassRequest(shots, others, order, TREE, "known shots") for order in orders]
        scores[others] = calibrated(np.mean([answer.logprobs for answer in answers], axis=0))
    labels = problem.best(scores)
    num_orders = settings.num_final_orders
    return (yield from weigh_alone(problem, "known shots", labels, zero_shot, num_orders, order_rng, scores))


KNOWN_SHOTS = SearchKind(
    "known_shots",
    "every example behind the known labels",
    KnownShotsSettings,
    known_shots,
    expected_passes=lambda settings, num: ExpectedPasses(1 + settings.num_orders + settings.num_final_orders),
    expected_shots=lambda settings, num: 4.0 * num,
    respects_rates=True,
    needs_known=True,
    presets=(Preset("known_shots", KnownShotsSettings(num_final_orders=0)),),
)
