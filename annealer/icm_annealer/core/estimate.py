"""A value with its confidence interval. A leaf."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, AllowInfNan, BeforeValidator

PARTS = ("value", "low", "high")


def _nan_for_null(value: object) -> object:
    return math.nan if value is None else value


def _not_infinite(value: float) -> float:
    if math.isinf(value):
        raise ValueError("not a finite number")
    return value


MaybeUnknown = Annotated[float, AllowInfNan(True), BeforeValidator(_nan_for_null), AfterValidator(_not_infinite)]
"""A number that is NaN where it is unknown; JSON holds null for NaN."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN means unknown. Can be a field of a pydantic model."""

    value: MaybeUnknown
    low: MaybeUnknown
    high: MaybeUnknown

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float | None]:
        """The form for JSON, with None for NaN."""
        parts = dict(zip(PARTS, (self.value, self.low, self.high), strict=True))
        return {name: None if math.isnan(part) else part for name, part in parts.items()}

    @classmethod
    def read(cls, to_dict: Mapping[str, float | None]) -> Estimate:
        """The estimate that `to_dict` wrote."""
        value, low, high = (math.nan if (part := to_dict[name]) is None else part for name in PARTS)
        return cls(value, low, high)
