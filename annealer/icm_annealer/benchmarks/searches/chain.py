"""Tests whether cheap measures (plans `chain` and `folds=2`) rank labels like exact leave-one-out U."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from icm_annealer.benchmarks.case import Case, Opened
from icm_annealer.benchmarks.runner import Steps
from icm_annealer.benchmarks.saved_rows import SavedRow
from icm_annealer.benchmarks.searches.rows import SearchRow
from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import Objective
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem


@dataclass(frozen=True)
class Surrogates:
    """Options of the comparison with U by plan `tree`."""

    plans: tuple[str, ...] = ("chain", "folds=2")
    num_orders: int = 4
    num_tree_orders: int = 2
    num_assignments: int = 13
    """From random labels to final ones: each has a further share of the final labels."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def expected_shots(self, num: int) -> float:
        """About how many shots the comparison computes."""
        cheap = len(self.plans) * self.num_orders * 3.0 * num
        return self.num_assignments * (cheap + self.num_tree_orders * num * math.log2(max(num, 2)))


SURROGATES = Surrogates()
CHAIN = "chain"
"""The part of `bench.json` with the rows made here, and what each of them is called."""
MEASURES = {"information": Objective("information"), "logprob": Objective("logprob")}


class Agreement(BaseModel):
    """How a cheap measure ranks labels: Spearman's correlation with U by `tree`, by measure. That of `tree` itself is
    of one order with another."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    plan: str
    orders: int
    """Averaged over so many."""
    tokens: float
    """That one assignment takes."""
    information: float
    logprob: float


class ChainRow(SavedRow):
    """The comparison of measures on one task, size and seed."""

    rows: list[Agreement]

    @property
    def name(self) -> str:
        return CHAIN


class ChainRows:
    """Makes those rows, of the labels that the reference search has found."""

    def depends_on(self, case: Case, name: str, reference: SearchRow | None) -> dict[str, Any]:
        labels = " ".join(map(str, reference.labels.tolist())) if reference else None
        return {**case.to_dict(), "labels": labels, **SURROGATES.to_dict()}

    async def row(self, case: Case, name: str, reference: SearchRow | None, steps: Steps) -> ChainRow:
        assert reference is not None  # with this comparison, the reference search takes part and runs first
        problem = case.problem(Objective(), PlanKind("tree"))
        rows = await agreements(await case.open(), problem, reference.labels, case.seed, steps.reach)
        return ChainRow(**case.key_fields, rows=rows)


async def agreements(
    opened: Opened, problem: Problem, final: Ints, seed: int, on_share: Callable[[float], None]
) -> list[Agreement]:
    """One for each plan and number of orders, that of `tree` first."""
    rng = np.random.default_rng([seed, 3])
    assignments = _between(rng.integers(problem.num_labels, size=problem.num_examples), final, rng)
    plans = {"tree": SURROGATES.num_tree_orders, **dict.fromkeys(SURROGATES.plans, SURROGATES.num_orders)}
    us: dict[str, dict[str, list[list[float]]]] = {
        plan: {measure: [[] for _ in range(num)] for measure in MEASURES} for plan, num in plans.items()
    }  # [order][assignment]
    tokens: dict[str, float] = {}
    counter = opened.counter()
    num_all, num_done = len(assignments) * sum(plans.values()), 0
    for plan, num_orders in plans.items():
        by_plan = replace(problem, plan=PlanKind.parse(plan))
        for number in range(num_orders):
            order = rng.permutation(len(problem.units))
            for labels in assignments:
                request = by_plan.request(labels, order, "chain check")
                answer = await opened.passes.score(request)
                tokens.setdefault(plan, counter.cold(request))
                contexts = by_plan.contexts(order)
                for measure, objective in MEASURES.items():
                    us[plan][measure][number].append(objective.u(answer.logprobs, labels, 0, contexts))
                num_done += 1
                on_share(num_done / num_all)
    exact = {measure: np.mean(us["tree"][measure], axis=0) for measure in MEASURES}
    rows = [
        Agreement(
            plan=plan,
            orders=num,
            tokens=num * tokens[plan],
            **{measure: spearman(np.mean(us[plan][measure][:num], axis=0), exact[measure]) for measure in MEASURES},
        )
        for plan in SURROGATES.plans
        for num in (1, 2, 4)
        if num <= SURROGATES.num_orders
    ]
    agreement = {
        measure: spearman(np.array(us["tree"][measure][0]), np.array(us["tree"][measure][1])) for measure in us["tree"]
    }
    return [Agreement(plan="tree", orders=1, tokens=tokens["tree"], **agreement), *rows]


def spearman(first: Array, second: Array) -> float:
    """Rank correlation, ties at their mean rank; 0 where one of them does not vary."""
    ranks = [_ranks(first), _ranks(second)]
    if not all(rank.std() for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _between(random: Ints, final: Ints, rng: np.random.Generator) -> list[Ints]:
    """Assignments from `random` to `final`, each with more of the final labels than the one before."""
    turn = rng.permutation(len(final))
    shares = np.linspace(0, 1, SURROGATES.num_assignments)
    return [np.where(turn < round(share * len(final)), final, random) for share in shares]
