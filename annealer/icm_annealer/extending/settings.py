"""The settings of an extension. A leaf."""

from __future__ import annotations

import math
from dataclasses import dataclass

from icm_client.contract.errors import RequestError

MAX_CONTEXTS = 16


@dataclass(frozen=True)
class ExtendSettings:
    """Everything that labels depend on besides the core, the data and the model."""

    contexts: int = 2
    """How many contexts of shots are drawn from the core."""
    shots: int = 64
    """Shots in a context, as many of each label."""
    reads: float = 1.25
    """Reads a row, on average: every row is read behind the first context, and those whose label it leaves least
    clear behind all of them."""
    sample: int = 1024
    """The most rows, drawn from the whole file, by which scores are calibrated; a sixteenth of the rows if that is
    less, but 64."""
    seed: int = 0
    mode: str = "shots"
    """The name of what labels rows: see `jobs/modes.py`."""

    def __post_init__(self) -> None:
        """Raises RequestError for a number out of range."""
        for name, value, low, high in (
            ("--contexts", self.contexts, 1, MAX_CONTEXTS),
            ("--shots", self.shots, 2, 100_000),
            ("--sample", self.sample, 16, 100_000),
        ):
            if not low <= value <= high:
                raise RequestError(f"{name} is {value:,}: it is a number from {low:,} to {high:,}")
        if not (math.isfinite(self.reads) and self.reads >= 1):
            raise RequestError(
                f"--reads is {self.reads:g}: every row is read once at least, so it is a number from 1 on"
            )

    @property
    def share_read_again(self) -> float:
        """The share of rows that are read behind all contexts."""
        return min((self.reads - 1) / (self.contexts - 1), 1.0) if self.contexts > 1 else 0.0

    def num_sampled(self, num_rows: int) -> int:
        """How many of `num_rows` rows scores are calibrated by."""
        return min(self.sample, max(num_rows // 16, 64), num_rows)
