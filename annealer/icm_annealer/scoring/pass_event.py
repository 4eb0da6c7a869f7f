"""The event that reports a finished pass."""

from __future__ import annotations

from dataclasses import dataclass

from icm_annealer.scoring.passes import PassRequest, PassResult


@dataclass(frozen=True)
class PassEvent:
    """One answered pass, for progress and journal."""

    number: int
    """Counted from 1 over the whole run."""
    request: PassRequest
    answer: PassResult
    u: float | None
    """U of the pass's labels; None for a pass whose queries are not in its context."""
    predictability: float | None
    num_contradictions: int
    label_rates: list[float]
    """The share of each label among labelled examples; empty if none is labelled."""
    resumed: bool
    """True if the answer was read from the journal, at no cost."""
    waited: float
    """Seconds that this pass added to the run; the passes of a round run concurrently."""
    num_stops: int = 0
    """How often the search had been stopped before it asked for this pass."""
