"""The bench's rows: what a search cost, and how good its labels are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from icm_annealer.benchmarks.budgeted_search import Arena, Costs, Trial
from icm_annealer.benchmarks.case import Case
from icm_annealer.benchmarks.runner import Row, Steps, joined, parted
from icm_annealer.benchmarks.search_presets import OFFICIAL, OURS, STOPPED
from icm_annealer.benchmarks.searches.chain import SURROGATES, chain_check
from icm_annealer.benchmarks.searches.plan import CHAIN, GOLD, BenchPlan
from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import Objective, label_rates
from icm_annealer.evaluation.many_shot import accuracy
from icm_annealer.scoring.prefix_plan import PlanKind


class BenchRows:
    """Makes the rows of a bench; the rows of our search set the others' budgets."""

    anchor = OURS

    def __init__(self, plan: BenchPlan):
        self._plan = plan

    def to_dict(self, case: Case, name: str, anchor: Row | None) -> Row:
        to_dict = {
            **case.to_dict(),
            "num_orders": self._plan.num_orders,
            "weigh_plan": self._plan.weigh_plan,
            "budget": _budget(name, anchor),
        }
        if name == CHAIN:
            return {**to_dict, "labels": anchor["labels"] if anchor else None, **SURROGATES.to_dict()}
        if name != GOLD:
            to_dict["settings"] = self._plan.settings(name, case.num, case.seed).to_dict()
        return to_dict

    async def row(self, case: Case, name: str, anchor: Row | None, steps: Steps) -> Row:
        arena, many_shot = await case.open()
        if name == CHAIN:
            assert anchor is not None  # a plan that checks it has our search take part, and first
            problem = case.problem(Objective(), PlanKind("tree"))
            return {"rows": await chain_check(arena, problem, parted(anchor["labels"]), case.seed, steps.reach)}
        costs, labels = {}, case.gold
        if name != GOLD:
            budget = _budget(name, anchor)
            trial = await case.search(
                arena,
                self._plan.settings(name, case.num, case.seed),
                budget_tokens=budget,
                counts_fixed=name == OFFICIAL,
                on_share=lambda share: steps.reach((0.9 if name == OFFICIAL else 0.7) * share),
            )
            costs, labels = self._costs(case, name, trial, budget), trial.labels
        weighed = await self._weighed(case, arena, labels)
        predictions = await many_shot.predict(labels)
        return {
            "search": name,
            **costs,
            **weighed,
            "label_accuracy": accuracy(labels, case.gold).value,
            "test_accuracy": accuracy(predictions.raw, case.gold_test).value,
            "test_accuracy_calibrated": accuracy(predictions.calibrated, case.gold_test).value,
            "label_rates": label_rates(labels, len(case.task.labels)).tolist(),
            "labels": joined(labels),
        }

    def _costs(self, case: Case, name: str, trial: Trial, budget: int | None) -> dict[str, Any]:
        row = {**trial.cost_figures(), "budget": budget}
        if name == OFFICIAL:
            done, in_all = self._plan.iterations(case.num)
            labelled = int(trial.result.notes["num_labelled"])
            row |= {
                "fixed_tokens": trial.costs.fixed_tokens,
                "fixed_tokens_cold": trial.costs.fixed_tokens_cold,
                "iterations": [done, in_all],
                "num_labelled": labelled,
                # What a whole search would cost, if every label took as much as those that it has.
                "extrapolated": case.num / labelled if done < in_all else 1.0,
                "u_own_order": trial.result.winner.u_own,
            }
        return row

    async def _weighed(self, case: Case, arena: Arena, labels: Ints) -> dict[str, Any]:
        """U on orders that are the same for all searches of this case; not counted as anybody's cost."""
        rng, costs = np.random.default_rng([case.seed, 2]), Costs()
        problem = case.problem(Objective(), PlanKind.parse(self._plan.weigh_plan))
        margin = case.problem(Objective("margin"), problem.plan)
        us, margins = [], []
        for _ in range(self._plan.num_orders):
            (answer,) = await arena.answer(
                [problem.request(labels, rng.permutation(len(problem.units)), "weigh")], costs
            )
            us.append(problem.u(answer, labels))
            margins.append(margin.u(answer, labels))
        return {
            "u": float(np.mean(us)),
            "u_se": float(np.std(us, ddof=1) / math.sqrt(len(us))) if len(us) > 1 else 0.0,
            "u_margin": float(np.mean(margins)),
            "weighing": {"tokens": costs.usage.computed_tokens, "seconds": round(costs.seconds, 3)},
        }


def _budget(name: str, anchor: Row | None) -> int | None:
    """Tokens that a search is stopped at; None where it comes to its own end."""
    return anchor["tokens"] if anchor and name in STOPPED else None
