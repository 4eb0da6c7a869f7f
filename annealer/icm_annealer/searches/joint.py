"""Joint inference by in-context learning (Gadetsky et al., ICLR 2025; mlbio-epfl/joint-inference).

Every round relabels all examples by a vote over several draws of a few shots, balanced by their current labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.core.objective import calibrated
from icm_annealer.core.votes import log_shares, with_current
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Search, StopSearch, weigh_alone, zero_shot_request
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind
from icm_annealer.search.shots import balanced, only

TREE = PlanKind("tree")


@dataclass(frozen=True)
class JointSettings:
    """The published code's settings (`unsupervised_icl_llm.py`: n, num_repeats, T), and an option that differs from
    it."""

    num_shots: int = 16
    num_draws: int = 5
    num_rounds: int = 8
    is_calibrated: bool = False
    """Give all labels the same mean and spread over the examples before an argmax; the published code does not.

    Two differences are fixed: all examples share the shots of a draw, so that a prefix cache helps (published: separate
    draws per example), and an example's own unit is never among its shots (published: it can be)."""
    num_final_orders: int = 3


def joint(problem: Problem, settings: JointSettings, seed: int) -> Search:
    """Zero-shot labels, then rounds of draws. If a round is stopped, its draws so far vote. Known labels come first
    among the shots."""
    rng, order_rng = np.random.default_rng(seed).spawn(2)
    (zero_shot,) = yield [zero_shot_request(problem)]
    scores = _scores(zero_shot.logprobs, settings)
    labels = problem.best(scores)
    num_draws = settings.num_draws * settings.num_rounds if problem.num_examples > 1 else 0
    # In a small set, the shots must not include all examples.
    num_shots = min(settings.num_shots, problem.num_examples // 2)
    one_each = np.eye(problem.num_labels)
    votes = np.zeros((problem.num_examples, problem.num_labels))
    try:
        for draw in range(1, num_draws + 1):
            shots = balanced(labels, rng.random(problem.num_examples), num_shots, problem.is_known)
            context = only(shots, labels)
            order = rng.permutation(len(problem.units))
            (answer,) = yield [PassRequest(context, problem.all_examples, order, TREE, "joint")]
            votes += one_each[problem.likeliest(_scores(answer.logprobs, settings))]
            if draw % settings.num_draws == 0:
                scores = log_shares(with_current(votes, labels))  # ties keep the current label
                labels, votes = problem.best(scores), np.zeros_like(votes)
    except StopSearch:
        if votes.any():
            scores = log_shares(with_current(votes, labels))
            labels = problem.best(scores)
    return (yield from weigh_alone(problem, "joint", labels, zero_shot, settings.num_final_orders, order_rng, scores))


def _scores(logprobs: Array, settings: JointSettings) -> Array:
    return calibrated(logprobs) if settings.is_calibrated else logprobs


def _expected_passes(settings: JointSettings, num_examples: int) -> ExpectedPasses:
    return ExpectedPasses(1 + settings.num_rounds * settings.num_draws + settings.num_final_orders)


JOINT = SearchKind(
    "joint",
    "votes behind a few balanced shots (Gadetsky et al. 2025)",
    JointSettings,
    joint,
    expected_passes=_expected_passes,
    with_passes=lambda settings, num: replace(settings, num_rounds=num),
    passes_help="rounds",
    can_stop=True,
    is_stopped=True,
    respects_rates=True,
    # The best variant for few tokens, and the published one.
    presets=(
        Preset("joint", JointSettings(is_calibrated=True, num_final_orders=0), takes_part="always"),
        Preset("joint_raw", JointSettings(num_final_orders=0)),
    ),
)
