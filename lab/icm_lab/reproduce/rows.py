"""The rows that figures are made of. A leaf."""

from __future__ import annotations

from icm_annealer.benchmarks.saved_rows import SavedRow
from icm_annealer.benchmarks.weighing import Weighed


class ReproduceRow(SavedRow):
    """One seed of one bar."""

    model: str
    method: str
    num: int
    """Examples that were labelled."""
    labels_right: int | None = None
    """None for zero-shot, which labels none."""
    num_test: int
    test_right: int
    passes: float
    """The search's reads per example; 0 without a search."""
    collapsed: bool
    """Whether one label has nearly no share."""
    weighed: Weighed | None = None
    """None if an example has no label."""

    @property
    def name(self) -> str:
        return self.method
