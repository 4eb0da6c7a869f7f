"""Votes on labels, counted over several draws. A leaf."""

from __future__ import annotations

import numpy as np

from icm_annealer.core.arrays import Array, Ints

TIE_BREAK = 0.5
"""Votes of an example's current label before any draw, so that a tie keeps it."""
PRIOR = 0.5
"""Votes of every label before any draw (Jeffreys' prior), so that the share of a label without a vote is not 0."""


def with_current(votes: Array, labels: Ints) -> Array:
    """`votes` [example, label] with TIE_BREAK added for each of the current `labels` [example]."""
    counts: Array = votes + TIE_BREAK * np.eye(votes.shape[1])[labels]
    return counts


def log_shares(votes: Array) -> Array:
    """[example, label]: the logarithm of each label's share of the votes, in nats, in the order of `votes`."""
    counts = votes + PRIOR
    shares: Array = np.log(counts / counts.sum(axis=1, keepdims=True))
    return shares
