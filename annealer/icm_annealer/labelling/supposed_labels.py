"""The labels that a rehearsal of a search supposes: random ones at given rates that keep to the rules. Pure."""

from __future__ import annotations

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import label_rates
from icm_annealer.search.base import Problem

NUM_STEPS = 20


def supposed_labels(problem: Problem, scores: Array, rates: Array) -> Ints:
    """Labels of random `scores` [example, label] whose rates are as near to `rates` [label] as the rules, known labels
    and stated rates let a few steps come: what passes compute depends on the rates, and rules by themselves make some
    labels rare."""
    shift, found = np.zeros(problem.num_labels), list[tuple[float, Ints]]()
    for _ in range(NUM_STEPS):
        labels = problem.best(scores + shift)
        shares = label_rates(labels, problem.num_labels)
        found.append((float(np.abs(shares - rates).max()), labels))
        shift += 2 * np.log(rates / np.maximum(shares, 1 / problem.num_examples))
    return min(found, key=lambda one: one[0])[1]
