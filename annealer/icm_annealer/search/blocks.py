"""Block search: the project's own. One pass proposes a label for every example, so whole blocks move at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from icm_annealer.arrays import Ints
from icm_annealer.objective import calibrated
from icm_annealer.plan import PlanKind
from icm_annealer.search.base import Chain, Problem, Result, Search, lockstep, weigh, zero_shot_ask


@dataclass(frozen=True)
class BlockSettings:
    """How a block search moves."""

    num_chains: int = 3
    """The first chain starts from calibrated zero-shot labels, the others from random ones."""
    num_passes: int = 6
    """Passes of each chain."""
    first_share: float = 0.5
    """The share of the groups that may change after a chain's first pass; it grows evenly to `last_share`."""
    last_share: float = 0.9
    early_plan: str = "folds=4"
    """The plan of the chains' passes: a cheap one, since it only has to propose. Final labels are weighed by the
    run's own plan."""
    num_final_orders: int = 3
    """Common fresh orders that the chains' final labels are weighed on."""


def blocks(problem: Problem, settings: BlockSettings, seed: int) -> Search:
    """Several chains of block moves, weighed at the end on common fresh orders.

    Each pass is laid out by a fresh order; proposals are calibrated (each label's mean over the pass is subtracted)
    and consistent. Moves are not rejected: on fresh orders, dU between two passes is mostly the noise of the orders,
    and a chain that moves on is drawn to what most orders agree on.
    """
    rngs = np.random.default_rng(seed).spawn(settings.num_chains + 1)
    (zero_shot,) = yield [zero_shot_ask(problem)]
    starts = [("zero-shot", problem.consistency.best(calibrated(zero_shot.logprobs)))]
    for rng in rngs[1 : settings.num_chains]:
        draws = rng.random((problem.num_examples, problem.num_labels))
        starts.append(("random", problem.consistency.best(draws)))
    starts = starts[: settings.num_chains]
    chains = [_chain(problem, settings, labels, rng) for (_, labels), rng in zip(starts, rngs, strict=False)]
    finals = yield from lockstep(chains)
    named = [(start, labels) for (start, _), labels in zip(starts, finals, strict=True)]
    candidates = yield from weigh(problem, named, settings.num_final_orders, rngs[-1])
    return Result(candidates, zero_shot)


def _chain(problem: Problem, settings: BlockSettings, labels: Ints, rng: np.random.Generator) -> Chain:
    groups = problem.consistency.groups
    early = replace(problem, plan=PlanKind.parse(settings.early_plan))
    for share in np.linspace(settings.first_share, settings.last_share, settings.num_passes):
        answer = yield early.ask(labels, rng.permutation(len(problem.units)), "chain")
        proposed = problem.consistency.best(calibrated(answer.logprobs))
        moved = rng.random(len(groups)) < share
        labels = labels.copy()
        for group, moves in zip(groups, moved, strict=True):
            if moves:
                labels[group] = proposed[group]
    return labels
