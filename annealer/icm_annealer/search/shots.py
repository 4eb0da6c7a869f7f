"""Which examples become shots where a context holds only some. A leaf."""

from __future__ import annotations

import numpy as np

from icm_annealer.core.arrays import Array, Ints


def balanced(labels: Ints, priority: Array, num: int) -> Ints:
    """The numbers of `num` examples, as many of each label as there are, those of the highest `priority` first."""
    rank = np.empty(len(labels), dtype=np.int64)  # among those of the same label
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members[np.argsort(-priority[members], kind="stable")]] = np.arange(len(members))
    chosen: Ints = np.lexsort((-priority, rank))[:num]
    return chosen


def only(chosen: Ints, labels: Ints) -> Ints:
    """`labels` of those chosen, -1 for all others."""
    context = np.full(len(labels), -1)
    context[chosen] = labels[chosen]
    return context
