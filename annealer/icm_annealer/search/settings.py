"""Everything that shapes a run's result. A leaf; the command line reads its defaults from here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_annealer.core.objective import Measure, Objective
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Search
from icm_annealer.search.blocks import BlockSettings, blocks, usual_chain_passes
from icm_annealer.search.bootstrap import BootstrapSettings, bootstrap
from icm_annealer.search.gibbs import GibbsSettings, gibbs
from icm_annealer.search.growing import GrowingSettings, growing
from icm_annealer.search.joint import JointSettings, joint
from icm_annealer.search.official import OfficialSettings, official
from icm_annealer.search.zero_shot import ZeroShotSettings, zero_shot

SearchName = Literal["blocks", "official", "zero_shot", "growing", "joint", "gibbs", "bootstrap"]
SEARCHES: dict[SearchName, Callable[[Problem, Any, int], Search]] = {
    "blocks": blocks,
    "official": official,
    "zero_shot": zero_shot,
    "growing": growing,
    "joint": joint,
    "gibbs": gibbs,
    "bootstrap": bootstrap,
}
"""Every search by its name, which is also the name of its settings' field."""


class Settings(BaseModel):
    """One run's settings, stored in its journal; a run is resumed only with the same ones.

    Raises pydantic's ValidationError for a setting that is unknown or out of range.

    Examples:
        >>> import icm_annealer as icm
        >>> icm.Settings(search="official", seed=1).seed
        1
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: SearchName = "blocks"
    """Ours, the paper's, or a baseline."""
    plan: str | None = None
    """`tree`, `fixed`, `folds=k` or `chain`: what labels are weighed by, so what U means. None is the search's own
    default: `fixed` for official, as in the authors' code, `folds=2` for all others."""
    seed: int = Field(default=0, ge=0)
    measure: Measure | None = None
    """What U measures; None is the search's own default: `margin` for official, `information` for all others."""
    alpha: float = Field(default=50.0, gt=0)
    """Weight of P against contradictions, as in the paper."""
    model: str = "base"
    """`base`, or an adapter that the scorer serves."""
    blocks: BlockSettings = BlockSettings()
    official: OfficialSettings = OfficialSettings()
    zero_shot: ZeroShotSettings = ZeroShotSettings()
    growing: GrowingSettings = GrowingSettings()
    joint: JointSettings = JointSettings()
    gibbs: GibbsSettings = GibbsSettings()
    bootstrap: BootstrapSettings = BootstrapSettings()

    def objective(self) -> Objective:
        return Objective(self.measure or ("margin" if self.search == "official" else "information"), self.alpha)

    def plan_kind(self) -> PlanKind:
        return PlanKind.parse(self.plan or ("fixed" if self.search == "official" else "folds=2"))

    def start(self, problem: Problem) -> Search:
        """The search that these settings name, at its beginning."""
        return SEARCHES[self.search](problem, getattr(self, self.search), self.seed)

    def usual_passes(self) -> int | None:
        """About how many passes the search will take, or None where nobody knows: it depends on the answers, or on
        the number of examples."""
        if self.search == "blocks":
            return 1 + self.blocks.num_chains * usual_chain_passes(self.blocks) + 2 * self.blocks.num_final_orders
        if self.search == "joint":
            return 1 + self.joint.num_rounds * self.joint.num_draws + self.joint.num_final_orders
        if self.search == "growing":
            return 1 + len(self.growing.sizes) + self.growing.num_final_orders
        if self.search == "bootstrap":
            return 1 + self.bootstrap.num_rounds + self.bootstrap.num_final_orders
        return 1 + self.zero_shot.num_final_orders if self.search == "zero_shot" else None

    def to_dict(self) -> dict[str, Any]:
        """The settings that matter to this search, for the journal and the report."""
        return self.model_dump(exclude={str(name) for name in SEARCHES if name != self.search})
