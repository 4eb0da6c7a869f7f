"""Alarms of a relabelling, from its own evidence. None needs gold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.objective import label_rates
from icm_annealer.labelling.verdict import MIN_FOUND, is_incoherent
from icm_annealer.runs.schema.metrics import AlarmRecord
from icm_annealer.runs.schema.verdict import Verdict
from icm_annealer.search.base import Problem
from icm_trainer.relabel.search import MAX_DRIFT, Relabelling


def alarms_of(problem: Problem, found: Relabelling, names: Sequence[str]) -> list[AlarmRecord]:
    """Warnings first."""
    raised = []
    if is_incoherent(problem, found.winner):
        raised.append(
            AlarmRecord(
                code="little-information",
                level="warning",
                observation=f"U is {found.winner.u:.2f} of at most {np.log(problem.num_labels):.2f} nats: what a model "
                "learns from the labels of some examples says little about those of others.",
                advice="Start from better labels, or more of them.",
            )
        )
    best, last = found.rounds[found.taken], found.rounds[-1]
    if found.is_worse:
        raised.append(
            AlarmRecord(
                code="round-worse",
                level="note",
                observation=f"The labels that round {len(found.rounds)} judged are worse than those of round "
                f"{found.taken + 1} (U {last.u:.2f}, before {best.u:.2f}; "
                f"agreement {last.agreement:.3f}, before {best.agreement:.3f}).",
                advice=f"The result is the labels that round {found.taken + 1} judged.",
            )
        )
    if found.lost is not None:
        raised.append(
            AlarmRecord(
                code="label-vanishes",
                level="note",
                observation=f"Round {len(found.rounds)} proposes the label {names[found.lost]!r} for hardly any row.",
                advice="Its labels were not used; if the label is that rare, state its rate with --rates.",
            )
        )
    for number, one in enumerate(found.rounds, 1):
        moved = float(np.abs(one.plain_rates - label_rates(found.rounds[0].labels, problem.num_labels)).max())
        if problem.rates is None and moved > MAX_DRIFT:
            raised.append(
                AlarmRecord(
                    code="rates-drift",
                    level="note",
                    observation=f"The models of round {number} would move a label's rate by {moved:.2f}.",
                    advice=f"Rates were held within {MAX_DRIFT:g} of those at the start; if you know them, state them "
                    "with --rates.",
                )
            )
            break
    return raised


def verdict_of(problem: Problem, found: Relabelling) -> Verdict:
    """The verdict on the labels by the evidence of the rounds. It knows nothing of mistakes that the labels of the
    start make as a rule, which tuned models repeat."""
    best, most = found.rounds[found.taken], float(np.log(problem.num_labels))
    seen = (
        f"Models tuned on other examples' labels agree with {best.agreement:.3f} of them; U is {best.u:.2f} of at most "
        f"{most:.2f} nats."
    )
    if is_incoherent(problem, found.winner):
        return Verdict("nothing", seen, "Do not use these labels unchecked.")
    if best.u < MIN_FOUND * most:
        return Verdict(
            "weak", seen, "Check a sample, and use the most certain labels only (icm export --abstain-below)."
        )
    return Verdict("found", seen, "Check a sample all the same: systematic mistakes are learnt, and agreed with.")
