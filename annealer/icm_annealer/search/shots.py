"""Selects the examples that become shots in a partial context. A leaf."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints


def balanced(labels: Ints, priority: Array, num: int, is_first: npt.NDArray[np.bool_]) -> Ints:
    """The numbers of `num` examples, balanced by label: those that are `is_first` before all others, and then those
    with the highest `priority`."""
    rank = np.empty(len(labels), dtype=np.int64)  # rank among examples with the same label
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members[np.lexsort((-priority[members], ~is_first[members]))]] = np.arange(len(members))
    chosen: Ints = np.lexsort((-priority, rank, ~is_first))[:num]
    return chosen


def only(chosen: Ints, labels: Ints) -> Ints:
    """`labels` with -1 for all examples not in `chosen`."""
    context = np.full(len(labels), -1)
    context[chosen] = labels[chosen]
    return context
