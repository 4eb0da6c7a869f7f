"""What a contest compares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from icm_annealer.benchmarks.search_presets import CONTESTANTS, OFFICIAL, OURS
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.settings import Settings
from icm_client.contract.errors import RequestError

GOLD, CHAIN = "gold", "chain"
"""In place of a search: the gold labels, and the comparison of measures."""
FULL = (OURS, OFFICIAL, "zero_shot", "growing", "joint", "gibbs", GOLD)
SHORT = (OURS, "zero_shot", "growing", "joint", GOLD)


def check_names(names: list[str]) -> list[str]:
    """The names without repetitions, ours first, since the others are measured by it. Raises RequestError."""
    for name in names:
        if name not in CONTESTANTS and name != GOLD:
            raise RequestError(f"no search {name!r}: it is one of {', '.join([*CONTESTANTS, GOLD])}")
    return sorted(dict.fromkeys(names), key=lambda name: name != OURS)


@dataclass(frozen=True)
class BenchPlan:
    """What is compared."""

    searches: Sequence[str]
    """Names of contestants, ours first if it takes part, since it sets the others' budgets."""
    sizes: Sequence[int] = (64,)
    num_seeds: int = 1
    first_seed: int = 0
    num_test: int = 200
    num_orders: int = 3
    """Common fresh orders that all answers of a seed are weighed on."""
    weigh_plan: str = "tree"
    official_iterations: int | None = None
    """Where the published search is stopped; None is at its own end."""
    official_plan: str = "tree"
    checks_chain: bool = False
    """Also compare U by plan `chain` with U by `tree`, for the first seed."""

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.num_seeds)

    def settings(self, search: str, num: int, seed: int) -> Settings:
        """What a contestant is run with."""
        settings = CONTESTANTS[search].model_copy(update={"seed": seed})
        if search == OFFICIAL:
            # Half an iteration less is rounded up to the whole number.
            wanted = (self.iterations(num)[0] - 0.5) / num
            official = replace(settings.official, iterations_per_example=wanted)
            settings = settings.model_copy(update={"official": official, "plan": self.official_plan})
        return settings

    def iterations(self, num: int) -> tuple[int, int]:
        """The published search's iterations: those that are run, and all."""
        in_all = math.ceil(CONTESTANTS[OFFICIAL].official.iterations_per_example * num)
        return min(in_all, self.official_iterations or in_all), in_all

    def check(self) -> None:
        """Raises RequestError for what could not be run."""
        PlanKind.parse(self.weigh_plan)
        if self.official_plan not in ("tree", "fixed"):
            raise RequestError(f"the published search asks by plan tree or fixed, not {self.official_plan!r}")
        if not self.sizes or min(self.sizes) < 8:
            raise RequestError("searches are compared on 8 examples or more")
        if self.checks_chain and OURS not in self.searches:
            raise RequestError(f"the chain rule is tried on the labels that {OURS} finds: let it take part")
