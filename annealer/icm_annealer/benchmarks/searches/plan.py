"""Options of `icm search-bench`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icm_annealer.benchmarks.search_presets import PRESETS, REFERENCE, ComparedSearch, compared_names, find_compared
from icm_annealer.benchmarks.weighing import USUAL_WEIGHING, WeighPlan
from icm_annealer.searches.settings import Settings
from icm_client.contract.errors import RequestError

GOLD = "gold"
"""The name of the gold labels, listed like a search."""
FULL = [*(name for name, search in PRESETS.items() if search.preset.takes_part != "named"), GOLD]
SHORT = [*(name for name, search in PRESETS.items() if search.preset.takes_part == "always"), GOLD]


def bench_names() -> list[str]:
    """The names of all searches that can be compared, and of the gold labels."""
    return [*compared_names(), GOLD]


def check_names(names: list[str]) -> list[str]:
    """The names without repetitions, the reference search first, since the others are compared with it.

    Raises RequestError for an unknown name.
    """
    for name in names:
        if name not in bench_names():
            raise RequestError(f"no search {name!r}: choose of {', '.join(bench_names())}")
        search_named(name)
    return sorted(dict.fromkeys(names), key=lambda name: name != REFERENCE.name)


def search_named(name: str) -> ComparedSearch | None:
    """The search of this name; None for gold labels."""
    return None if name == GOLD else find_compared(name)


@dataclass(frozen=True)
class BenchPlan:
    """What is compared."""

    searches: Sequence[str]
    """Names, the reference search first if it takes part, since it sets the others' budgets."""
    sizes: Sequence[int] = (64,)
    num_seeds: int = 1
    first_seed: int = 0
    num_test: int = 200
    weighing: WeighPlan = USUAL_WEIGHING
    """How U of all results of a case is evaluated."""
    max_iterations: int | None = None
    """The most iterations of searches that count them; None for no limit."""
    uses_own_plans: bool = False
    """Whether every search uses its own default plan, regardless of the cost."""
    checks_chain: bool = False
    """Also compare U by plan `chain` with U by `tree`, for the first seed."""

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.num_seeds)

    def settings(self, search: ComparedSearch, num: int, seed: int) -> Settings:
        """The settings of a search."""
        settings = search.settings(seed)
        done_and_all = self.iterations(search, num)
        if search.kind.iterations and done_and_all:
            options = search.kind.iterations.limited(settings.options, num, done_and_all[0])
            settings = settings.model_copy(update={"options": options})
        return settings.model_copy(update={"plan": None}) if self.uses_own_plans else settings

    def iterations(self, search: ComparedSearch, num: int) -> tuple[int, int] | None:
        """The iterations that are run, and those of a whole search; None for a search that counts none."""
        if search.kind.iterations is None:
            return None
        in_all = search.kind.iterations.total(search.preset.options, num)
        return min(in_all, self.max_iterations or in_all), in_all

    def check(self) -> None:
        """Raises RequestError for options that cannot be run."""
        if not self.sizes or min(self.sizes) < 8:
            raise RequestError("searches are compared on 8 examples or more")
        if self.checks_chain and REFERENCE.name not in self.searches:
            raise RequestError(f"--chain compares measures on the labels of {REFERENCE.name}: add it to --methods")
