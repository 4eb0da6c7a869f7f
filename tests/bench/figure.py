"""A figure that the scorer has to reach, and whether it does. A leaf."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """What was measured of `what`, once a repetition; the median counts."""

    name: str
    what: str
    values: list[float]
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        above = self.at_least is None or self.measured >= self.at_least
        return above and (self.at_most is None or self.measured <= self.at_most)

    @property
    def bound(self) -> str:
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        return ", ".join(bounds + ([f"<= {self.at_most:g}"] if self.at_most is not None else []))

    def row(self) -> dict[str, Any]:
        """As it stands in bench.json."""
        return {
            "what": self.what,
            "bound": self.bound,
            "measured": round(self.measured, 4),
            "lowest": round(min(self.values), 4),
            "highest": round(max(self.values), 4),
            "repetitions": len(self.values),
            "unit": self.unit,
            "is_met": self.is_met,
            **self.details,
        }
