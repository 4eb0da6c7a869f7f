"""Bootstrapped few-shot prompting: random balanced labels, then rounds in which the labelled examples are the context
for relabelling all examples; with `keeps_rules` ("+ consistency") each round takes the best labels without
contradictions.

"Eliciting base models with simple unsupervised techniques" (Shrivastava, Qi, Canavan, Qiu, Michala, Roger 2026;
lesswrong.com/posts/rFxfMbwJ3v4PNesWP) found that these two parts of ICM help most, and that ICM has to be compared with
them. The numbers of rounds and shots are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import calibrated
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.search.base import TWO_FOLDS, Problem, Search, StopSearch, weigh_alone, zero_shot_request
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind


@dataclass(frozen=True)
class BootstrapSettings:
    """Options of bootstrapped prompting."""

    num_rounds: int = 8
    """Number of rounds. Each labels all examples once: each half with the other as context, in a fresh order."""
    keeps_rules: bool = True
    """Bootstrap + consistency: every round takes the best labels without contradictions."""
    is_calibrated: bool = False
    """Give all labels the same mean and spread over the pass before an argmax."""
    num_final_orders: int = 3


def bootstrap(problem: Problem, settings: BootstrapSettings, seed: int) -> Search:
    """Rounds from random labels. The zero-shot pass is only for comparison and does not affect them."""
    rng, order_rng = np.random.default_rng(seed).spawn(2)
    (zero_shot,) = yield [zero_shot_request(problem)]
    balanced = rng.permutation(problem.num_examples) % problem.num_labels
    # If rules forbid some of the random labels, random scores decide which to change.
    noise = rng.random((problem.num_examples, problem.num_labels))
    even = np.eye(problem.num_labels)[balanced]
    labels = _best(problem, settings, even + 1e-3 * noise if problem.rates is None else noise)
    said: Array | None = None
    try:
        for _ in range(settings.num_rounds if len(problem.units) > 1 else 0):
            order = rng.permutation(len(problem.units))
            (answer,) = yield [PassRequest(labels, problem.all_examples, order, TWO_FOLDS, "bootstrap")]
            said = calibrated(answer.logprobs) if settings.is_calibrated else answer.logprobs
            labels = _best(problem, settings, said)
    except StopSearch:
        pass
    return (yield from weigh_alone(problem, "bootstrap", labels, zero_shot, settings.num_final_orders, order_rng, said))


def _best(problem: Problem, settings: BootstrapSettings, scores: Array) -> Ints:
    return problem.best(scores) if settings.keeps_rules else problem.likeliest(scores)


BOOTSTRAP = SearchKind(
    "bootstrap",
    "random labels, then all labelled anew behind themselves (Shrivastava et al. 2026)",
    BootstrapSettings,
    bootstrap,
    expected_passes=lambda settings, num: ExpectedPasses(1 + settings.num_rounds + settings.num_final_orders),
    expected_shots=lambda settings, num: 16.0 * num,
    with_passes=lambda settings, num: replace(settings, num_rounds=num),
    passes_help="rounds",
    can_stop=True,
    is_stopped=True,
    respects_rates=True,
    # The best variant for few tokens, the variant with rules, and the variant without calibration.
    presets=(
        Preset("bootstrap", BootstrapSettings(keeps_rules=False, is_calibrated=True, num_final_orders=0)),
        Preset("bootstrap_consistent", BootstrapSettings(is_calibrated=True, num_final_orders=0)),
        Preset("bootstrap_raw", BootstrapSettings(keeps_rules=False, num_final_orders=0)),
    ),
)
