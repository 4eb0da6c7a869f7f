"""Bootstrapped few-shot prompting: random balanced labels, then the whole pool is labelled anew behind itself, again
and again; with `keeps_rules` ("+ consistency") by the best labels without contradictions each time.

"Eliciting base models with simple unsupervised techniques" (Shrivastava, Qi, Canavan, Qiu, Michala, Roger 2026;
lesswrong.com/posts/rFxfMbwJ3v4PNesWP) found these two to be what of ICM is most useful, and the simple methods that it
has to be compared with. Number of rounds and shots are this project's.
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
    """How long it goes on, and what a round does."""

    num_rounds: int = 8
    """Each labels everybody once: one half behind the other, in a fresh order."""
    keeps_rules: bool = True
    """Bootstrap + consistency: every round takes the best labels that contradict each other nowhere."""
    is_calibrated: bool = False
    """Subtract each label's mean over the pass before an argmax."""
    num_final_orders: int = 3


def bootstrap(problem: Problem, settings: BootstrapSettings, seed: int) -> Search:
    """Rounds from random labels on; no zero-shot answer shapes them, it is asked for to be compared with."""
    rng, order_rng = np.random.default_rng(seed).spawn(2)
    (zero_shot,) = yield [zero_shot_request(problem)]
    balanced = rng.permutation(problem.num_examples) % problem.num_labels
    # Where rules forbid some of the random labels, chance decides which.
    noise = rng.random((problem.num_examples, problem.num_labels))
    labels = _best(problem, settings, np.eye(problem.num_labels)[balanced] + 1e-3 * noise)
    try:
        for _ in range(settings.num_rounds if len(problem.units) > 1 else 0):
            order = rng.permutation(len(problem.units))
            (answer,) = yield [PassRequest(labels, problem.all_examples, order, TWO_FOLDS, "bootstrap")]
            said = calibrated(answer.logprobs) if settings.is_calibrated else answer.logprobs
            labels = _best(problem, settings, said)
    except StopSearch:
        pass
    return (yield from weigh_alone(problem, "bootstrap", labels, zero_shot, settings.num_final_orders, order_rng))


def _best(problem: Problem, settings: BootstrapSettings, scores: Array) -> Ints:
    labels: Ints = problem.consistency.best(scores) if settings.keeps_rules else scores.argmax(axis=1)
    return labels


BOOTSTRAP = SearchKind(
    "bootstrap",
    "random labels, then all labelled anew behind themselves (Shrivastava et al. 2026)",
    BootstrapSettings,
    bootstrap,
    expected_passes=lambda settings, num: ExpectedPasses(1 + settings.num_rounds + settings.num_final_orders),
    expected_shots=lambda settings, num: 16.0 * num,
    with_passes=lambda settings, num: replace(settings, num_rounds=num),
    passes_help="rounds",
    is_stopped=True,
    # In the form that does best for few tokens, with the task's rules, and without calibration.
    presets=(
        Preset("bootstrap", BootstrapSettings(keeps_rules=False, is_calibrated=True, num_final_orders=0)),
        Preset("bootstrap_consistent", BootstrapSettings(is_calibrated=True, num_final_orders=0)),
        Preset("bootstrap_raw", BootstrapSettings(keeps_rules=False, num_final_orders=0)),
    ),
)
