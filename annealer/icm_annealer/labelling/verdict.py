"""The verdict on a finished search: whether to use its labels, from evidence that is not gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.runs.schema.verdict import Verdict
from icm_annealer.search.base import AtRates, Candidate, Problem, Result, lead_by_example, zero_shot_candidate
from icm_annealer.searches.chain import LEAST_SHARE

MIN_COHERENT = 0.2
"""Share of the most information that U must exceed for labels to be called coherent at all. On a 135M model, U is 0.4
to 0.9 nats for concepts of two labels that the model has, else 0.0 to 0.15."""
MIN_FOUND = 0.4
"""Share of the most information that U must reach for labels to be called found."""
LEAST_LEAD = 1e-6
"""Nats per example; smaller leads are rounding."""


def verdict(problem: Problem, result: Result, names: Sequence[str] | None = None) -> Verdict:
    """The verdict on the winner of `result`, with the labels' `names` [label]; without names, labels are numbered."""
    winner, rival = result.winner, zero_shot_candidate(problem, result)
    if problem.objective.measure != "information" or np.isnan(winner.u):
        return Verdict(
            "unknown",
            "The labels were not evaluated by how much the other examples say about them (measure: information).",
            "Check a sample by hand.",
        )
    most = float(np.log(problem.num_labels))
    own = f"U is {winner.u:.2f} of at most {most:.2f} nats"
    if is_incoherent(problem, winner):
        return Verdict(
            "nothing",
            f"{own}: the other examples say little about a label.",
            "Use neither these labels nor zero-shot ones unchecked: try a larger model or another wording.",
        )
    names = names or [f"label {number}" for number in range(problem.num_labels)]
    open_rates = _open_rates(problem, result)
    if open_rates and result.chosen is not None:
        return _uneven(result.chosen, open_rates, result.at_rates[0], names)
    is_clear = True
    if rival is not None:
        lead, error = lead_by_example(winner, rival)
        if lead <= LEAST_LEAD:
            return Verdict(
                "zero-shot",
                f"{own}; {_equality(winner, rival, lead, error)}.",
                "Zero-shot labels are enough here, and one pass finds them (icm run --search zero_shot).",
            )
        is_clear = lead > 2 * error
        own += f", {lead:.2f} ± {error:.2f} above that of zero-shot labels{'' if is_clear else ', not a clear lead'}"
    if open_rates:
        other = _uneven(result.at_rates[0], open_rates, result.at_rates[0], names)
        return replace(other, observation=f"{own}; rates were compared for another answer. Its {other.observation}")
    if winner.u < MIN_FOUND * most or not is_clear:
        return Verdict(
            "weak", f"{own}.", "Check a sample, and use the most certain labels only (icm export --abstain-below)."
        )
    return Verdict("found", f"{own}.", "Use the labels; those of low certainty deserve a look.")


def _open_rates(problem: Problem, result: Result) -> list[AtRates]:
    """The winner and the answers at other rates that U does not tell from it, or the same of another answer if only its
    rates were varied; empty if all are about even."""
    if not result.at_rates:
        return []
    compared = result.chosen or result.at_rates[0]
    leads = [compared.lead(one) for one in result.at_rates]
    found = [one for one, (lead, error) in zip(result.at_rates, leads, strict=True) if lead <= 2 * error]
    return found if min(one.rates.min() for one in found) < LEAST_SHARE / problem.num_labels else []


def _uneven(chosen: AtRates, as_coherent: Sequence[AtRates], first: AtRates, names: Sequence[str]) -> Verdict:
    shares = [
        f"{name} {min(one.rates[k] for one in as_coherent):.2f} to {max(one.rates[k] for one in as_coherent):.2f}"
        for k, name in enumerate(names)
    ]
    before = "" if chosen is first else f", {first.u:.2f} at {_shares(names, first.rates)}"
    return Verdict(
        "uneven",
        f"U is {chosen.u:.2f} ± {chosen.error:.2f} nats at rates of {_shares(names, chosen.rates)}{before}; not "
        f"clearly lower at {', '.join(shares)}.",
        "Rank rows by certainty rather than trust the boundary between the labels; state the rates if you know them, "
        "or give a few labels (icm run --rates, --known).",
    )


def _shares(names: Sequence[str], rates: Array) -> str:
    return ", ".join(f"{name} {share:.2f}" for name, share in zip(names, rates, strict=True))


def is_incoherent(problem: Problem, candidate: Candidate) -> bool:
    """Whether U, by the measure `information`, is not clearly above zero; False if it is unknown (NaN)."""
    return candidate.u <= max(2 * candidate.u_se, MIN_COHERENT * float(np.log(problem.num_labels)))


def _equality(winner: Candidate, rival: Candidate, lead: float, error: float) -> str:
    if (winner.labels == rival.labels).all():
        return "the labels are those of zero-shot, which no labelling found clearly exceeds"
    return f"zero-shot labels are no less coherent (the lead over them is {lead:.2f} ± {error:.2f})"
