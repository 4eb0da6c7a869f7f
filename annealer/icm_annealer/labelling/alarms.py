"""Alarms: what a finished search shows of its own failure, without gold. Each says what it saw and what to try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from icm_annealer.core.objective import entropy, label_rates
from icm_annealer.data.examples import Example
from icm_annealer.labelling.alarm import Alarm
from icm_annealer.labelling.rescore import Rescored
from icm_annealer.labelling.surface_alarms import surface_alarms
from icm_annealer.scoring.passes import PassResult
from icm_annealer.search.base import Problem, Result

MIN_RELATIVE_ENTROPY = 0.5
"""Of ln C; two labels at rates 11 : 89 have it."""
MIN_INFORMATION = 0.2
"""Of ln C. On a 135M model, concepts that it sees reach 0.4 to 0.9 of it, those that it does not 0.0 to 0.15."""
MIN_AGREEMENT = 0.8
MIN_LABEL_MASS = 0.5
MIN_LIKENESS_TO_START = 0.4
MAX_SPREAD = 0.1
"""Nats: a probability that changes by a tenth from one time to the next."""
MIN_FALL = 0.05
"""Nats per example; smaller differences between U on different orders are noise."""


def alarms(problem: Problem, result: Result, examples: Sequence[Example], num_dropped: int = 0) -> list[Alarm]:
    """Everything that speaks against `result`, the most serious first."""
    found = [
        *_little_information(problem, result),
        *_uneven(problem, result),
        *_chains_disagree(result),
        *_opposite_of_start(problem, result),
        *_low_mass(result),
        *_tie(result),
        *_below_start(result),
        *_oscillating(result),
        *_falls_on_fresh_orders(result),
        *surface_alarms(result.winner.labels, examples),
        *_cut(num_dropped, problem),
    ]
    return sorted(found, key=lambda alarm: alarm.level != "warning")


def spread_alarms(rescored: Rescored) -> list[Alarm]:
    """What speaks against the engine; a note, since labels of large margin stand all the same."""
    if rescored.spread <= MAX_SPREAD:
        return []
    return [
        Alarm(
            "engine-spread",
            "note",
            f"Asked again for {len(rescored.first)} examples of the last pass, the engine's log-probabilities differ "
            f"by {rescored.spread:.2f} nats from before, and {rescored.num_changed} of them prefer another label.",
            "Labels of small margin are chance then, and will differ from run to run: serve the model with a higher "
            "precision (--dtype float32) or smaller batches, on a GPU with VLLM_BATCH_INVARIANT=1, and compare seeds.",
        )
    ]


def agreement(result: Result) -> float:
    """Share of examples that the winner and the median chain label alike; 1 where there are no several chains."""
    if len(result.chains) < 2:
        return 1.0
    return float(np.median([(labels == result.winner.labels).mean() for labels in result.chains]))


def _little_information(problem: Problem, result: Result) -> Iterator[Alarm]:
    winner, most = result.winner, float(np.log(problem.num_labels))
    if problem.objective.measure == "information" and winner.u <= max(2 * winner.u_se, MIN_INFORMATION * most):
        yield Alarm(
            "little-information",
            "warning",
            f"U is {winner.u:.3f} ± {winner.u_se:.3f} of at most {most:.3f} nats per example: the other examples say "
            "little more about a label than the label rates do.",
            "The model hardly sees this concept here: try a larger model, another wording, or more examples.",
        )


def _uneven(problem: Problem, result: Result) -> Iterator[Alarm]:
    labels = result.winner.labels
    relative = entropy(labels, problem.num_labels) / np.log(problem.num_labels)
    if relative < MIN_RELATIVE_ENTROPY:
        rates = label_rates(labels, problem.num_labels)
        yield Alarm(
            "uneven-labels",
            "warning",
            f"The labels are far from even ({', '.join(f'{rate:.0%}' for rate in rates)}).",
            "If the data are not so themselves, the search has collapsed: try other label words or a consistency rule.",
        )


def _chains_disagree(result: Result) -> Iterator[Alarm]:
    share = agreement(result)
    if share < MIN_AGREEMENT:
        yield Alarm(
            "chains-disagree",
            "warning",
            f"The chains ended at different labels (the median one agrees with the answer on {share:.0%} of examples).",
            "Several readings of the data are coherent: look at the runner-up, add examples, or run more chains.",
        )


def _opposite_of_start(problem: Problem, result: Result) -> Iterator[Alarm]:
    """With two labels, a search can find the concept with its label words exchanged; U is then just as high."""
    alike = float((result.zero_shot_labels == result.winner.labels).mean())
    if result.zero_shot is not None and problem.num_labels == 2 and alike < MIN_LIKENESS_TO_START:
        yield Alarm(
            "opposite-of-start",
            "warning",
            f"The labels agree with calibrated zero-shot's on {alike:.0%} of examples only, less than chance.",
            "They may be the wanted ones turned round: look at some, and exchange the label words if so.",
        )


def _low_mass(result: Result) -> Iterator[Alarm]:
    mass = float(np.median(PassResult(result.winner.logprobs).label_mass))
    if mass < MIN_LABEL_MASS:
        yield Alarm(
            "low-label-mass",
            "warning",
            f"Behind its context the median example gives all labels together a probability of {mass:.2f} only.",
            "The prompt does not ask for these words: check template, separator and label texts (leading space).",
        )


def _tie(result: Result) -> Iterator[Alarm]:
    for rival in result.candidates[1:]:
        if len(rival.us) < 2:
            continue
        lead, error = result.winner.lead(rival)
        alike = float((rival.labels == result.winner.labels).mean())
        if lead < 2 * error and alike < MIN_AGREEMENT:
            yield Alarm(
                "too-close-to-call",
                "warning",
                f"An answer with other labels ({alike:.0%} alike) comes as high as the winner "
                f"(U {rival.u:.3f} against {result.winner.u:.3f}, difference {lead:.3f} ± {error:.3f}).",
                "Which of the two is wanted, U cannot tell (of opposites, that is taken which is likelier without any "
                "context): look at both, or use more examples.",
            )
            return


def _oscillating(result: Result) -> Iterator[Alarm]:
    if result.num_oscillating:
        yield Alarm(
            "chains-oscillate",
            "warning",
            f"{result.num_oscillating} of {len(result.chains)} chains went back and forth between two labellings.",
            "Examples seem to prefer labels unlike their context's: check template and separator, or use more passes.",
        )


def _below_start(result: Result) -> Iterator[Alarm]:
    winner = result.winner
    if result.u_start is not None and winner.u < result.u_start - max(2 * winner.u_se, MIN_FALL):
        yield Alarm(
            "below-start",
            "warning",
            f"The labels found are less coherent (U {winner.u:.3f}) than the zero-shot labels that a chain began "
            f"with (U {result.u_start:.3f}).",
            "The search has lost something: use the zero-shot labels, or more chains and examples.",
        )


def _falls_on_fresh_orders(result: Result) -> Iterator[Alarm]:
    """A search that meets one order again and again learns the order."""
    winner = result.winner
    if winner.u_own - winner.u > max(3 * winner.u_se, MIN_FALL, 0.5 * abs(winner.u_own)):
        yield Alarm(
            "order-exploited",
            "warning",
            f"U falls from {winner.u_own:.3f} on the search's own orders to {winner.u:.3f} on fresh ones.",
            "The labels fit the order of the contexts, not the examples: trust the second figure.",
        )


def _cut(num_dropped: int, problem: Problem) -> Iterator[Alarm]:
    if num_dropped:
        yield Alarm(
            "contexts-cut",
            "note",
            f"Contexts did not fit the model's window: {num_dropped} shots were left out over all subtrees of a pass.",
            "Labels are scored behind a sample of the others; fewer or shorter examples would fit.",
        )
