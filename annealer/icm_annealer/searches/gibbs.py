"""Gibbs sampling (Choi et al. 2026, arXiv 2606.19264; hyeok9855/large-language-gibbs).

One label at a time is drawn from its conditional distribution given all others; the labels are a vote over samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import calibrated
from icm_annealer.core.votes import log_shares, with_current
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Search, StopSearch, weigh_alone, zero_shot_request
from icm_annealer.search.kind import ExpectedPasses, Preset, SearchKind

TREE, TWO_FOLDS = PlanKind("tree"), PlanKind("folds", 2)


@dataclass(frozen=True)
class GibbsSettings:
    """The published code's settings (`run_eval.py`), and options that differ from it. A sweep has one draw per
    example."""

    num_samples: int = 25
    """Samples that vote, one per sweep (published: thinning by one sweep)."""
    num_burn_in: int = 10
    """Burn-in sweeps before the first sample."""
    temperature: float = 1.0
    scan: Literal["random", "sweep"] = "random"
    """`random`: a random example and a fresh order for each draw. `sweep`: every example once per sweep, with one order
    per sweep, so that a prefix cache helps (published as --sweep --fast_demo_order)."""
    start: Literal["balanced", "zero-shot"] = "balanced"
    """Start from random balanced labels, or from calibrated zero-shot labels (not published)."""
    is_calibrated: bool = False
    """Subtract each label's mean over the latest log-probabilities of all examples; the first ones come from a pass in
    two halves (not published)."""
    num_final_orders: int = 3

    @property
    def num_sweeps(self) -> int:
        return self.num_burn_in + self.num_samples

    def within(self, num_sweeps: int) -> GibbsSettings:
        """These settings with `num_sweeps` sweeps in total, divided in the same proportion."""
        num_burn_in = num_sweeps * self.num_burn_in // self.num_sweeps
        return replace(self, num_burn_in=num_burn_in, num_samples=num_sweeps - num_burn_in)


class _Next(NamedTuple):
    example: int
    order: Ints
    ends_sweep: bool


def gibbs(problem: Problem, settings: GibbsSettings, seed: int) -> Search:
    """A chain of single draws, of which known examples have none. If stopped before the first sample, it ends with its
    current labels."""
    rng, order_rng = np.random.default_rng(seed).spawn(2)
    (zero_shot,) = yield [zero_shot_request(problem)]
    if settings.start == "zero-shot":
        labels = problem.best(calibrated(zero_shot.logprobs))
    else:
        labels = problem.held(rng.permutation(problem.num_examples) % problem.num_labels)
    said = np.zeros((problem.num_examples, problem.num_labels))
    votes = np.zeros_like(said)
    num_swept = 0
    try:
        if settings.is_calibrated:
            order = rng.permutation(len(problem.units))
            (answer,) = yield [PassRequest(labels, problem.all_examples, order, TWO_FOLDS, "gibbs start")]
            said = answer.logprobs.copy()
        for example, order, ends_sweep in _scan(problem, settings, rng):
            if not problem.is_known[example]:
                others = labels.copy()
                others[example] = -1
                (answer,) = yield [PassRequest(others, np.array([example]), order, TREE, "gibbs", settings.temperature)]
                said[example] = answer.logprobs[0]
                bias = said.mean(axis=0) if settings.is_calibrated else 0.0
                labels = labels.copy()  # the request must not change
                labels[example] = _drawn(said[example] - bias, settings.temperature, rng)
            num_swept += ends_sweep
            if ends_sweep and num_swept > settings.num_burn_in:
                votes += np.eye(problem.num_labels)[labels]
    except StopSearch:
        pass
    scores = log_shares(with_current(votes, labels))  # ties go to the last labels
    labels = problem.best(scores)
    return (yield from weigh_alone(problem, "gibbs", labels, zero_shot, settings.num_final_orders, order_rng, scores))


def _scan(problem: Problem, settings: GibbsSettings, rng: np.random.Generator) -> Iterator[_Next]:
    """The sequence of examples to draw, each with the order of its context."""
    last = problem.num_examples - 1
    for _ in range(settings.num_sweeps):
        order = rng.permutation(len(problem.units))
        if settings.scan == "random":
            for draw in range(problem.num_examples):
                yield _Next(int(rng.integers(problem.num_examples)), order, draw == last)
                order = rng.permutation(len(problem.units))
        else:
            # From the back, so that the prefix before the last drawn label stays the same.
            for draw, example in enumerate(np.concatenate([problem.units[unit] for unit in order[::-1]])):
                yield _Next(int(example), order, draw == last)


def _drawn(scores: Array, temperature: float, rng: np.random.Generator) -> int:
    """A label drawn from softmax(scores / temperature)."""
    return int((scores + temperature * rng.gumbel(size=len(scores))).argmax())


def _expected_passes(settings: GibbsSettings, num_examples: int) -> ExpectedPasses:
    num_draws = settings.num_sweeps * num_examples
    return ExpectedPasses(1 + settings.is_calibrated + num_draws + settings.num_final_orders)


GIBBS = SearchKind(
    "gibbs",
    "one label drawn at a time (Choi et al. 2026)",
    GibbsSettings,
    gibbs,
    expected_passes=_expected_passes,
    with_passes=lambda settings, num: settings.within(num),
    passes_help="sweeps",
    can_stop=True,
    is_stopped=True,
    # The best variant for few tokens, and the variant without calibration.
    presets=(
        Preset(
            "gibbs",
            GibbsSettings(scan="sweep", start="zero-shot", is_calibrated=True, num_final_orders=0),
            takes_part="full",
        ),
        Preset("gibbs_raw", GibbsSettings(scan="sweep", num_final_orders=0)),
    ),
)
