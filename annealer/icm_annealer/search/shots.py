"""Selects the examples that become shots in a partial context. A leaf."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints

MIN_EVEN_SHOTS = 4
"""Shots of each label in contexts with as many of each; of a rare one there may be fewer."""


def balanced(labels: Ints, priority: Array, num: int, is_first: npt.NDArray[np.bool_]) -> Ints:
    """The numbers of `num` examples, balanced by label: those that are `is_first` before all others, and then those
    with the highest `priority`."""
    rank = np.empty(len(labels), dtype=np.int64)  # rank among examples with the same label
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members[np.lexsort((-priority[members], ~is_first[members]))]] = np.arange(len(members))
    chosen: Ints = np.lexsort((-priority, rank, ~is_first))[:num]
    return chosen


def as_many_of_each(candidates: Ints, labels: Ints, num_labels: int, most: float = 1.0) -> Ints:
    """The first of `candidates` of each label: at most `most` times as many as the rarest label has, but
    `MIN_EVEN_SHOTS` where there are so many. Behind uneven shots a model says little of the rare label.
    """
    own = labels[candidates]
    limit = max(int(most * np.bincount(own, minlength=num_labels).min()), MIN_EVEN_SHOTS)
    return np.concatenate([candidates[own == label][:limit] for label in range(num_labels)])


def only(chosen: Ints, labels: Ints) -> Ints:
    """`labels` with -1 for all examples not in `chosen`."""
    context = np.full(len(labels), -1)
    context[chosen] = labels[chosen]
    return context
