"""The two kinds of array that the annealer computes with, and the complement of a set of numbers. A leaf."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
"""Log-probabilities (natural logs, raw unless said otherwise), scores, lengths."""

Ints = npt.NDArray[np.int64]
"""Numbers of examples, units or labels; a label of -1 is none."""


def all_but(num: int, left_out: Ints) -> Ints:
    """The numbers from 0 to `num` - 1 that are not in `left_out`, rising."""
    is_kept = np.ones(num, dtype=np.bool_)
    is_kept[left_out] = False
    return np.flatnonzero(is_kept)
