"""U of labels on fresh orders that no search used, beside U of the gold labels and of the zero-shot labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import Objective, calibrated, unit_of_u
from icm_annealer.scoring.passes import PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import TWO_FOLDS, Problem, mean_and_error, zero_shot_request
from icm_client.contract.errors import RequestError

WEIGHED_BY = Objective()
"""The measure by which all labels are compared, regardless of a search's own measure."""
UNIT = unit_of_u(WEIGHED_BY.measure)
"""The unit of U in rows."""
NUM_ERRORS = 2.0
"""A gap counts from so many standard errors on."""
Verdict = Literal["search gap", "objective gap", "none"]


@dataclass(frozen=True)
class WeighPlan:
    """How U is evaluated, for all labels of a case alike. Raises RequestError for fewer than two orders."""

    num_orders: int = 3
    plan: PlanKind = TWO_FOLDS

    def __post_init__(self) -> None:
        if self.num_orders < 2:
            raise RequestError("U is compared on 2 orders or more: one order has no standard error")

    def to_dict(self) -> dict[str, Any]:
        """The form for a row's inputs."""
        return {"num_orders": self.num_orders, "plan": str(self.plan)}

    def expected_shots(self, num: int) -> float:
        """About how many shots one labelling of `num` examples takes."""
        return 2.0 * num * self.num_orders


USUAL_WEIGHING = WeighPlan()


class OrderUs(NamedTuple):
    """U of some labels on each order."""

    us: list[float]
    margins: list[float]
    """The same by measure `margin`."""


class Weighed(BaseModel):
    """U of the labels of one row, and of the gold and the zero-shot labels, on the same orders; means over these."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    u: float
    u_se: float
    """The standard error over the orders."""
    u_margin: float
    """U of the labels by measure `margin`."""
    u_gold: float
    u_zero_shot: float
    """U of the calibrated zero-shot labels, the best that rules, known labels and label rates allow."""
    search_gap: float
    """`u_gold` - `u`."""
    search_gap_se: float
    """The standard error of this difference, paired by order."""
    verdict: Verdict

    @classmethod
    def of(cls, found: OrderUs, gold: OrderUs, zero_shot: OrderUs) -> Weighed:
        """The figures of the labels `found`, from U on the same orders."""
        u, u_se = mean_and_error(found.us)
        gap, gap_se = mean_and_error(np.subtract(gold.us, found.us))
        return cls(
            u=u,
            u_se=u_se,
            u_margin=float(np.mean(found.margins)),
            u_gold=float(np.mean(gold.us)),
            u_zero_shot=float(np.mean(zero_shot.us)),
            search_gap=gap,
            search_gap_se=gap_se,
            verdict=verdict_of(gap, gap_se),
        )


class Weigher:
    """Evaluates U on the orders of one case. Labels that were evaluated before are not scored again.

    It has the gold labels, so nothing of it may reach a search.
    """

    def __init__(self, passes: PassScorer, problem: Problem, gold: Ints, plan: WeighPlan, seed: int):
        self._passes, self._gold = passes, gold
        self._problem = replace(problem, objective=WEIGHED_BY, plan=plan.plan)
        self._by_margin = replace(self._problem, objective=Objective("margin"))
        rng = np.random.default_rng([seed, 2])
        self._orders = [rng.permutation(len(problem.units)) for _ in range(plan.num_orders)]
        self._known: dict[bytes, OrderUs] = {}
        self._zero_shot: Ints | None = None

    async def weighed(self, labels: Ints) -> Weighed:
        """The figures of `labels` [n], which label every example. Raises the errors of `PassScorer.score`."""
        if self._zero_shot is None:
            alone = await self._passes.score(zero_shot_request(self._problem))
            self._zero_shot = self._problem.best(calibrated(alone.logprobs))
        return Weighed.of(*[await self._us(each) for each in (labels, self._gold, self._zero_shot)])

    async def _us(self, labels: Ints) -> OrderUs:
        key = labels.tobytes()
        if key not in self._known:
            us = OrderUs([], [])
            for order in self._orders:
                answer = await self._passes.score(self._problem.request(labels, order, "weigh"))
                us.us.append(self._problem.u(answer, labels, order))
                us.margins.append(self._by_margin.u(answer, labels, order))
            self._known[key] = us
        return self._known[key]


def verdict_of(gap: float, error: float) -> Verdict:
    """What U of the gold labels less U of other labels says of them, given its standard error.

    `search gap`: the objective prefers gold, so the search has not found what it looks for. `objective gap`: the
    objective prefers labels that are not all right. `none`: the difference is within NUM_ERRORS standard errors.
    """
    if abs(gap) <= NUM_ERRORS * error:
        return "none"
    return "search gap" if gap > 0 else "objective gap"
