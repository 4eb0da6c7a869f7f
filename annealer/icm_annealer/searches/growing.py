"""Growing self-labels: each round uses more of the most confident labels as shots and relabels all examples.

Choosing pseudo-labels by confidence follows semi-supervised in-context learning (arXiv 2503.03062); growing them from a
few, balanced by label, is the cheap baseline that block search has to beat.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.core.objective import calibrated, margins
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Round, Search, StopSearch, weigh_alone, zero_shot_request
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind
from icm_annealer.search.shots import balanced, only

TREE = PlanKind("tree")


@dataclass(frozen=True)
class GrowingSettings:
    """Options of growing self-labels."""

    sizes: tuple[int, ...] = (2, 4, 16, 64)
    """Shots of each round, at least one per label; sizes that would use all examples are left out."""
    num_final_orders: int = 3


def growing(problem: Problem, settings: GrowingSettings, seed: int) -> Search:
    """Calibrated zero-shot labels, then growing self-labels."""
    rng, order_rng = np.random.default_rng(seed).spawn(2)
    (zero_shot,) = yield [zero_shot_request(problem)]
    scores = yield from grow(problem, calibrated(zero_shot.logprobs), settings.sizes, rng)
    labels, num_orders = problem.best(scores), settings.num_final_orders
    return (yield from weigh_alone(problem, "growing", labels, zero_shot, num_orders, order_rng, scores))


def grow(
    problem: Problem, scores: Array, sizes: Sequence[int], rng: np.random.Generator
) -> Generator[Round, list[PassResult], Array]:
    """One pass per size over all examples, with that many of the most confident labels of the pass before as context,
    beside all known labels. Begins with `scores` [example, label], and returns those of the last pass, calibrated."""
    num_known = int(problem.is_known.sum())
    try:
        for size in sorted({num_known + max(size, problem.num_labels) for size in sizes}):
            if size >= problem.num_examples:
                break
            labels = problem.best(scores)
            context = only(balanced(labels, margins(scores, labels), size, problem.is_known), labels)
            order = rng.permutation(len(problem.units))
            (answer,) = yield [PassRequest(context, problem.all_examples, order, TREE, "growing")]
            scores = calibrated(answer.logprobs)
    except StopSearch:
        pass
    return scores


GROWING = SearchKind(
    "growing",
    "the surest labels become shots, more each round",
    GrowingSettings,
    growing,
    expected_passes=lambda settings, num: ExpectedPasses(1 + len(settings.sizes) + settings.num_final_orders),
    expected_shots=lambda settings, num: 8.0 * num,
    can_stop=True,
    is_stopped=True,
    respects_rates=True,
    presets=(Preset("growing", GrowingSettings(num_final_orders=0), takes_part="always"),),
)
