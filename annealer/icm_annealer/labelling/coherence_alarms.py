"""Alarms from the search's own measurements: U, the chains, the starts, the probabilities of labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import calibrated, entropy, information_by_example, label_rates
from icm_annealer.labelling.alarm import AlarmText, FinishedSearch
from icm_annealer.labelling.verdict import is_incoherent
from icm_annealer.scoring.passes import PassResult
from icm_annealer.search.base import Candidate, Result, error_over_examples, zero_shot_labels_of
from icm_client.text.counts import counted

MIN_RELATIVE_ENTROPY = 0.5
"""As a fraction of ln C; two labels at rates 11 : 89 have this entropy."""
MIN_AGREEMENT = 0.8
MIN_LABEL_MASS = 0.5
MIN_LIKENESS_TO_START = 0.4
MIN_FALL = 0.05
"""Nats per example; smaller differences between U on different orders are noise."""


def agreement(found: Ints, chains: Sequence[Ints]) -> float:
    """Share of examples with the same label in `found` [example] and in the median chain; 1 without several chains."""
    if len(chains) < 2:
        return 1.0
    return float(np.median([(labels == found).mean() for labels in chains]))


def little_information(search: FinishedSearch) -> AlarmText | None:
    winner, problem = search.result.winner, search.problem
    if problem.objective.measure != "information" or not is_incoherent(problem, winner):
        return None
    most = float(np.log(problem.num_labels))
    return AlarmText(
        f"U is {winner.u:.3f} ± {winner.u_se:.3f} of at most {most:.3f} nats per example: the other examples say "
        "little more about a label than the label rates do.",
        "The model hardly sees this concept here: try a larger model, another wording, or more examples.",
    )


def uneven_labels(search: FinishedSearch) -> AlarmText | None:
    labels, num_labels = search.result.winner.labels, search.problem.num_labels
    if search.problem.rates is not None:  # it is as the user expects
        return None
    if search.result.uneven is not None:  # even labels are less coherent; the verdict says how sure the rates are
        return None
    if entropy(labels, num_labels) / np.log(num_labels) >= MIN_RELATIVE_ENTROPY:
        return None
    rates = label_rates(labels, num_labels)
    return AlarmText(
        f"The labels are far from even ({', '.join(f'{rate:.0%}' for rate in rates)}).",
        "If the data are not that uneven, the search has collapsed: try other label words or a consistency rule.",
    )


def chains_disagree(search: FinishedSearch) -> AlarmText | None:
    result = search.result
    # Chains end at about even labels, so an answer at other rates is compared by the one before them.
    found = result.winner.labels if result.uneven is None else result.at_rates[0].labels
    share = agreement(found, result.chains)
    if share >= MIN_AGREEMENT:
        return None
    return AlarmText(
        f"The chains ended at different labels (the median chain agrees with the answer on {share:.0%} of examples).",
        "Several readings of the data are coherent: compare the report's answers, add examples, or run more chains.",
    )


def opposite_of_start(search: FinishedSearch) -> AlarmText | None:
    """With two labels, a search can find the concept with its label words exchanged, at the same U."""
    result = search.result
    alike = float((zero_shot_labels_of(search.problem, result) == result.winner.labels).mean())
    if result.zero_shot is None or search.problem.num_labels != 2 or alike >= MIN_LIKENESS_TO_START:
        return None
    return AlarmText(
        f"The labels agree with those of calibrated zero-shot on only {alike:.0%} of examples, fewer than by chance.",
        "The two labels may be exchanged: read some examples, and exchange the label words if they are.",
    )


def low_label_mass(search: FinishedSearch) -> AlarmText | None:
    mass = float(np.median(PassResult(search.result.winner.logprobs).label_mass))
    if not mass < MIN_LABEL_MASS:  # NaN if the search evaluated no labels
        return None
    return AlarmText(
        f"Behind the context of the median example, all labels together have a probability of only {mass:.2f}.",
        "The prompt does not ask for these words: check template, separator and label texts (leading space).",
    )


def too_close_to_call(search: FinishedSearch) -> AlarmText | None:
    winner = search.result.winner
    for rival in search.result.candidates[1:]:
        if len(rival.us) < 2:
            continue
        lead, error = winner.lead(rival)
        alike = float((rival.labels == winner.labels).mean())
        is_level = lead < 2 * error or (lead <= search.problem.slack and not _tells_apart(search.result, rival))
        if is_level and alike < MIN_AGREEMENT:
            return AlarmText(
                f"An answer with other labels ({alike:.0%} of them alike) is as coherent as the winner "
                f"(U {rival.u:.3f} against {winner.u:.3f}, difference {lead:.3f} ± {error:.3f}).",
                "U cannot tell which of the two you are looking for (of opposites, the one that is likelier without "
                "any context was taken): look at both, or use more examples.",
            )
    return None


def _tells_apart(result: Result, rival: Candidate) -> bool:
    """Whether the zero-shot pass says clearly more of the winner's labels than of the rival's. The search takes the
    likelier of two that U hardly tells apart, such as opposites, however little likelier it is."""
    if result.zero_shot is None:
        return True
    alone = calibrated(result.zero_shot.logprobs)
    more = information_by_example(alone, result.winner.labels) - information_by_example(alone, rival.labels)
    return bool(more.mean() > 2 * error_over_examples(more))


def oscillating(search: FinishedSearch) -> AlarmText | None:
    result = search.result
    if not result.num_oscillating:
        return None
    return AlarmText(
        f"{result.num_oscillating} of {len(result.chains)} chains went back and forth between two labellings.",
        "Examples seem to prefer labels that differ from those of their context: check the template and the separator, "
        "or use more passes.",
    )


def below_start(search: FinishedSearch) -> AlarmText | None:
    winner, u_start = search.result.winner, search.result.u_start
    if u_start is None or not winner.u < u_start - max(2 * winner.u_se, MIN_FALL):
        return None
    return AlarmText(
        f"The labels found are less coherent (U {winner.u:.3f}) than the zero-shot labels that a chain began "
        f"with (U {u_start:.3f}).",
        "The search made them worse: use the zero-shot labels, or more chains and examples.",
    )


def falls_on_fresh_orders(search: FinishedSearch) -> AlarmText | None:
    """A search that uses the same order repeatedly fits its labels to that order. Its own passes score as many examples
    once as the fresh orders do together, so their U has at least the error over the examples."""
    winner = search.result.winner
    error = winner.u_se
    if search.problem.objective.measure == "information" and winner.contributions is not None:
        error = float(np.hypot(error, error_over_examples(winner.contributions)))
    if not winner.u_own - winner.u > max(3 * error, MIN_FALL, 0.5 * abs(winner.u_own)):
        return None
    return AlarmText(
        f"U falls from {winner.u_own:.3f} on the search's own orders to {winner.u:.3f} on fresh ones.",
        "The labels fit the order of the contexts, not the examples: trust the second figure.",
    )


def contexts_cut(search: FinishedSearch) -> AlarmText | None:
    if not search.num_dropped:
        return None
    num = counted(search.num_dropped, "shot was", "shots were")
    return AlarmText(
        f"Contexts did not fit the model's window: in one pass, {num} left out.",
        "Each label is scored behind a sample of the others. Label fewer rows, as a core, and the rest with "
        "`icm extend`; or shorten the texts.",
    )


def stopped_at_budget(search: FinishedSearch) -> AlarmText | None:
    if not search.is_stopped:
        return None
    return AlarmText(
        "The search was stopped at its budget: these are its best labels so far.",
        "Continue it with `icm resume`, with a larger budget or none (resume=True in Python).",
    )
