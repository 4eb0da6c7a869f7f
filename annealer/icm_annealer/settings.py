"""Everything that shapes a run's result. A leaf; the command line reads its defaults from here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_annealer.objective import Measure, Objective
from icm_annealer.plan import PlanKind
from icm_annealer.search.base import Problem, Search
from icm_annealer.search.blocks import BlockSettings, blocks, usual_chain_passes
from icm_annealer.search.official import OfficialSettings, official


class Settings(BaseModel):
    """One run's settings, stored in its journal; a run is resumed only with the same ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: Literal["blocks", "official"] = "blocks"
    plan: str | None = None
    """`tree`, `fixed` or `folds=k`: what labels are weighed by, so what U means. None is the search's own default:
    `folds=2` for blocks, `fixed` for official, as in the authors' code."""
    seed: int = Field(default=0, ge=0)
    measure: Measure | None = None
    """What U measures; None is the search's own default: `information` for blocks, `margin` for official."""
    alpha: float = Field(default=50.0, gt=0)
    """Weight of P against contradictions, as in the paper."""
    model: str = "base"
    """`base`, or an adapter that the scorer serves."""
    blocks: BlockSettings = BlockSettings()
    official: OfficialSettings = OfficialSettings()

    def objective(self) -> Objective:
        return Objective(self.measure or ("information" if self.search == "blocks" else "margin"), self.alpha)

    def plan_kind(self) -> PlanKind:
        return PlanKind.parse(self.plan or ("folds=2" if self.search == "blocks" else "fixed"))

    def start(self, problem: Problem) -> Search:
        """The search that these settings name, at its beginning."""
        if self.search == "blocks":
            return blocks(problem, self.blocks, self.seed)
        return official(problem, self.official, self.seed)

    def usual_passes(self) -> int | None:
        """About how many passes the search will take, or None where nobody knows: it depends on the answers."""
        if self.search == "official":
            return None
        return 1 + self.blocks.num_chains * usual_chain_passes(self.blocks) + 2 * self.blocks.num_final_orders

    def described(self) -> dict[str, Any]:
        """The settings that matter to this search, for the journal and the report."""
        return self.model_dump(exclude={"official" if self.search == "blocks" else "blocks"})
