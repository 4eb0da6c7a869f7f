"""The rows that figures are made of. A leaf."""

from __future__ import annotations

from icm_annealer.benchmarks.saved_rows import SavedRow
from icm_annealer.benchmarks.weighing import Weighed


class ReproduceRow(SavedRow):
    """One seed of one bar."""

    model: str
    method: str
    measure: str
    """What was counted; a name of MEASURES."""
    num: int
    """Examples that were labelled."""
    right: float
    """How many of what was counted are right; a tie of two is half."""
    num_counted: int
    labels_right: int | None = None
    """None for zero-shot, which labels none."""
    passes: float
    """The search's reads per example; 0 without a search."""
    collapsed: bool
    """Whether one label has nearly no share."""
    weighed: Weighed | None = None
    """None if an example has no label, and where a model was tuned on the labels."""

    @property
    def name(self) -> str:
        return f"{self.method} {self.measure}"
