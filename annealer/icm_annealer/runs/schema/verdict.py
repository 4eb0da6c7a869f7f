"""The verdict on a run, as stored in its files, and the words for it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

VerdictName = Literal["found", "weak", "uneven", "zero-shot", "nothing", "unknown"]
WORDS: dict[VerdictName, str] = {
    "found": "found",
    "weak": "weakly coherent",
    "uneven": "uneven, threshold uncertain",
    "zero-shot": "no better than zero-shot",
    "nothing": "nothing coherent",
    "unknown": "unknown",
}
"""What a user reads, in a table or in front of the observation."""


@dataclass(frozen=True, config=ConfigDict(strict=True))
class Verdict:
    """Whether to use the labels of a run, from evidence that is not gold.

    `observation` says what was measured, `advice` what to do. `name` is one of

    * `found`: the labels are coherent, and clearly more so than zero-shot labels;
    * `weak`: more coherent than those, but not very, or not clearly;
    * `uneven`: labels at uneven rates are the most coherent, or not clearly less coherent than those found;
    * `zero-shot`: no more coherent than zero-shot labels;
    * `nothing`: no labelling is coherent;
    * `unknown`: the search gives no evidence.

    Examples:
        >>> import icm_annealer as icm
        >>> print(icm.Verdict("weak", "U is 0.2 nats.", "Check a sample."))
        weakly coherent. U is 0.2 nats. Check a sample.
    """

    name: VerdictName
    observation: str = ""
    advice: str = ""

    @property
    def words(self) -> str:
        """The name in plain words."""
        return WORDS[self.name]

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.words}.", self.observation, self.advice) if part)
