"""The two kinds of array that the annealer computes with. A leaf."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
"""Log-probabilities (natural logs, raw unless said otherwise), scores, lengths."""

Ints = npt.NDArray[np.int64]
"""Numbers of examples, units or labels; a label of -1 is none."""
