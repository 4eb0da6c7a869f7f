"""One thing that speaks against a result. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Alarm:
    """`warning`: the labels are probably not what was wanted. `note`: worth a look, may be genuine."""

    code: str
    level: Literal["warning", "note"]
    saw: str
    try_: str

    def __str__(self) -> str:
        return f"{self.saw} {self.try_}"
