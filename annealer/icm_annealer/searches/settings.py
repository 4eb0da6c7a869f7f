"""The settings that determine a run's result."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator

from icm_annealer.core.objective import Measure, Objective
from icm_annealer.data.rates import NO_RATES
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Search
from icm_annealer.search.kind import ExpectedPasses, SearchKind
from icm_annealer.searches.registry import BUILT_IN, DEFAULT, find_search
from icm_client.contract.errors import RequestError

MAX_SEED = 2**32 - 1
"""All random generators take seeds up to here, and a little above."""


class Settings(BaseModel):
    """One run's settings, stored in its journal; a run is resumed only with the same settings.

    Raises RequestError for an unknown search.

    Examples:
        >>> import icm_annealer as icm
        >>> icm.Settings(search="official", seed=1).seed
        1
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: str = DEFAULT.name
    """The name of a search: `blocks`, `official`, a baseline, or a search of an installed package."""
    plan: str | None = None
    """`tree`, `fixed`, `folds=k` or `chain`: the plan by which labels are evaluated, so it defines U. None is the
    search's default: `fixed` for official, as in the authors' code, `folds=2` for all other built-in searches."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    measure: Measure | None = None
    """The measure of U; None is the search's default: `margin` for official, `information` for all other built-in
    searches."""
    alpha: float = Field(default=50.0, gt=0)
    """Weight of P against contradictions, as in the paper."""
    model: str = "base"
    """`base`, or an adapter that the scorer serves."""
    options: Any = Field(default=None, validate_default=True)
    """The search's options: an instance of its options class, or a dict of its fields; None uses its defaults."""

    @field_validator("options", mode="before")
    @classmethod
    def _of_the_search(cls, options: Any, info: ValidationInfo) -> Any:
        if "search" not in info.data:  # reported as a separate error
            return options
        kind = find_search(info.data["search"])
        return _checked(kind, kind.options() if options is None else options)

    @property
    def kind(self) -> SearchKind:
        return find_search(self.search)

    def objective(self) -> Objective:
        return Objective(self.measure or self.kind.measure, self.alpha)

    def plan_kind(self) -> PlanKind:
        return PlanKind.parse(self.plan or self.kind.plan)

    def start(self, problem: Problem) -> Search:
        """Starts the search that these settings name."""
        return self.kind.start(problem, self.options, self.seed)

    def check_given(self, *, has_rates: bool, has_known: bool, has_start: bool) -> None:
        """Raises RequestError if label rates or start labels are given and the search has no use for them, or if it
        needs known labels and there are none."""
        if has_rates and not self.kind.respects_rates:
            able = ", ".join(name for name, kind in BUILT_IN.items() if kind.respects_rates)
            raise RequestError(
                f"the search {self.search} cannot respect label rates; these can: {able}. --rates {NO_RATES}, or an "
                "empty `rates` in Python or in a sweep's file, discards the task's",
                code="bad_rates",
            )
        if has_start and not self.kind.starts_from_labels:
            able = ", ".join(name for name, kind in BUILT_IN.items() if kind.starts_from_labels)
            raise RequestError(f"the search {self.search} cannot start from labels; of the built-in ones {able} can")
        if self.kind.needs_known and not has_known:
            raise RequestError(f"the search {self.search} needs known labels: name them with --known, or in the task")

    def expected_passes(self, num_examples: int) -> ExpectedPasses | None:
        """The approximate number of passes; None if it depends on the answers."""
        return self.kind.expected_passes(self.options, num_examples)

    def expected_shots(self, num_examples: int) -> float:
        """The approximate number of shots that the search computes."""
        return self.kind.expected_shots(self.options, num_examples)

    def to_dict(self) -> dict[str, Any]:
        """The settings for the journal and the report, with defaults of plan and measure filled in."""
        return {**self.model_dump(), "plan": str(self.plan_kind()), "measure": self.objective().measure}


def options_for(search: str, *, chains: int | None = None, passes: int | None = None) -> Any:
    """A search's options with this number of chains and of passes, rounds or sweeps; None keeps the default.

    Raises RequestError if the search has no such number.
    """
    kind = find_search(search)
    options = kind.options()
    for name, number, change in (("chains", chains, kind.with_chains), ("passes", passes, kind.with_passes)):
        if number is not None:
            if change is None:
                raise RequestError(f"the search {search} has no {name} to set")
            options = change(options, number)
    return options


def _checked(kind: SearchKind, options: Any) -> Any:
    """`options` as an instance of the search's options class. Raises ValueError, also for unknown fields."""
    return _holder(kind.options).model_validate({"options": options}).options  # type: ignore[attr-defined]


@cache
def _holder(options: type) -> type[BaseModel]:
    """A model of one field, `options`, of this class. Making a model takes longer than all else that settings do."""
    return create_model("Options", __config__=ConfigDict(extra="forbid"), options=(options, ...))
