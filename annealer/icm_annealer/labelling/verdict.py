"""The verdict on a finished search: whether to use its labels, from evidence that is not gold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.core.objective import entropy, information_by_example
from icm_annealer.search.base import Candidate, Problem, Result, zero_shot_candidate

VerdictName = Literal["found", "weak", "zero-shot", "nothing", "unknown"]

MIN_COHERENT = 0.2
"""Share of ln C that U must exceed for labels to be called coherent at all."""
MIN_FOUND = 0.4
"""Share of ln C that U must exceed for labels to be called found."""


@dataclass(frozen=True)
class Verdict:
    """`found`: the labels are coherent, and clearly more so than zero-shot labels. `weak`: more coherent than those,
    but not very. `zero-shot`: no more coherent than zero-shot labels. `nothing`: no labelling is coherent. `unknown`:
    the search gives no evidence."""

    name: VerdictName
    observation: str
    """What was measured."""
    advice: str
    """What to do."""


def verdict(problem: Problem, result: Result) -> Verdict:
    """The verdict on the winner of `result`."""
    winner, rival = result.winner, zero_shot_candidate(problem, result)
    if problem.objective.measure != "information" or np.isnan(winner.u):
        return Verdict("unknown", "The search measured no information.", "Evaluate the labels on some with gold.")
    most = float(np.log(problem.num_labels)) if problem.rates is None else entropy(winner.labels, problem.num_labels)
    own = f"U is {winner.u:.2f} of at most {most:.2f} nats"
    if winner.u <= max(2 * winner.u_se, MIN_COHERENT * most):
        return Verdict(
            "nothing",
            f"{own}: the other examples say little about a label.",
            "Use neither these labels nor zero-shot ones unchecked: try a larger model or another wording.",
        )
    if rival is not None:
        lead, error = lead_by_example(winner, rival)
        if lead <= 2 * error:
            return Verdict(
                "zero-shot",
                f"{own}; zero-shot labels are as coherent (the lead is {lead:.2f} ± {error:.2f}).",
                "The search found nothing beyond zero-shot labels: use those, which cost one pass.",
            )
        own += f", {lead:.2f} ± {error:.2f} above that of zero-shot labels"
    if winner.u < MIN_FOUND * most:
        return Verdict("weak", f"{own}.", "Check a sample, and use the most certain labels only (--abstain-below).")
    return Verdict("found", f"{own}.", "Use the labels; those of low certainty deserve a look.")


def lead_by_example(one: Candidate, other: Candidate) -> tuple[float, float]:
    """The mean difference of what each example contributes to U of two candidates, and its standard error over the
    examples. It leaves out that contexts are shared."""
    difference = _contributions(one) - _contributions(other)
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def _contributions(candidate: Candidate) -> Array:
    return information_by_example(candidate.logprobs, candidate.labels)
