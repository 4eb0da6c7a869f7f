"""What listeners are told of a pass."""

from __future__ import annotations

from dataclasses import dataclass

from icm_annealer.scoring.passes import PassRequest, PassResult


@dataclass(frozen=True)
class PassEvent:
    """One pass that was answered, for progress and journal."""

    number: int
    """Counted from 1 over the whole run."""
    request: PassRequest
    answer: PassResult
    u: float | None
    """U of the labels asked about, None for a pass that scores examples outside of its context."""
    predictability: float | None
    num_contradictions: int
    label_rates: list[float]
    """Share of each label among the labelled; empty if none is."""
    resumed: bool
    """True if the answer came from the journal and cost nothing."""
    waited: float
    """Seconds by which it made the run longer: passes of one round are asked side by side."""
