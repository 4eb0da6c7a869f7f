"""Search gaps and objective gaps of one method over its seeds, as figures and as text. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from icm_annealer.benchmarks.weighing import UNIT, Verdict, Weighed
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import median_over_seeds

GAP_NOTE = (
    f"search gap: U of the gold labels less U of these ({UNIT}), on the same fresh orders, which no search used; ± its "
    "standard error over the orders. If gold is more than two standard errors higher, the search has not found what "
    "its objective prefers (search gap); if as much lower, the objective prefers labels that are not all right "
    "(objective gap); over seeds, the number of each."
)
"""The explanation of the column in tables."""
WORDS: dict[Verdict, str] = {"search gap": "search", "objective gap": "objective"}
"""What stands before the number of seeds with such a gap."""


class GapSummary(BaseModel):
    """U and the search gap of one method: of one seed, or medians over several."""

    model_config = ConfigDict(strict=True, frozen=True)

    u: Estimate
    u_gold: Estimate
    u_zero_shot: Estimate
    search_gap: Estimate
    """Without interval for one seed."""
    search_gap_se: float | None
    """The standard error over the orders of one seed; None for several seeds."""
    verdicts: dict[Verdict, int]
    """The number of seeds by verdict."""

    @classmethod
    def of(cls, seeds: Sequence[Weighed]) -> GapSummary:
        """The summary of one seed or more."""
        names = ("u", "u_gold", "u_zero_shot", "search_gap")
        return cls(
            **{name: _median([getattr(seed, name) for seed in seeds]) for name in names},
            search_gap_se=seeds[0].search_gap_se if len(seeds) == 1 else None,
            verdicts=dict(Counter(seed.verdict for seed in seeds)),
        )

    def text(self) -> str:
        """The gap with its error or interval, and on the next line the verdict: `+0.213 ± 0.021`, `search gap`. Of
        several seeds, those with a gap are counted: `search 3/5`."""
        value = f"{self.search_gap.value:+.3f}"
        if self.search_gap_se is not None:
            return "\n".join([f"{value} ± {self.search_gap_se:.3f}", *self.verdicts])
        num = sum(self.verdicts.values())
        counts = [
            f"{word} {self.verdicts[verdict]}/{num}" for verdict, word in WORDS.items() if verdict in self.verdicts
        ]
        return "\n".join([f"{value} [{self.search_gap.low:+.2f}, {self.search_gap.high:+.2f}]", *(counts or ["none"])])


def _median(values: list[float]) -> Estimate:
    return median_over_seeds(values) if len(values) > 1 else Estimate(values[0], float("nan"), float("nan"))
