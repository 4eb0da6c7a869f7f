"""One thing that speaks against a result. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Alarm:
    """`warning`: the labels are probably not what you want. `note`: worth a look, may be genuine.

    `saw` says what was seen, `try_` what to do about it; `code` names the alarm in the docs.

    Examples:
        >>> import icm_annealer as icm
        >>> print(icm.Alarm("example", "note", "U is low.", "Try a larger model."))
        U is low. Try a larger model.
    """

    code: str
    level: Literal["warning", "note"]
    saw: str
    try_: str

    def __str__(self) -> str:
        return f"{self.saw} {self.try_}"
