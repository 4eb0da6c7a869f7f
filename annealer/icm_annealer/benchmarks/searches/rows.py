"""The rows of the bench: the costs of a search and the quality of its labels."""

from __future__ import annotations

from typing import Any

from icm_annealer.benchmarks.case import Case, SearchCost
from icm_annealer.benchmarks.runner import Steps
from icm_annealer.benchmarks.saved_rows import Numbers, SearchCosts
from icm_annealer.benchmarks.search_presets import ComparedSearch
from icm_annealer.benchmarks.searches.plan import BenchPlan, search_named
from icm_annealer.benchmarks.weighing import Weighed
from icm_annealer.core.objective import label_rates
from icm_annealer.evaluation.many_shot import accuracy

FIXED = "fixed"
"""The plan of searches whose costs are counted by it as well."""


class SearchRow(SearchCosts):
    """One search, or the gold labels, on one task, size and seed."""

    search: str
    weighed: Weighed
    label_accuracy: float
    test_accuracy: float
    test_accuracy_calibrated: float
    label_rates: list[float]
    labels: Numbers
    fixed_tokens: int | None = None
    """For a search whose default plan is `fixed`: its tokens if all passes used it."""
    fixed_tokens_cold: int | None = None
    """The same if the cache were cleared after each pass."""
    iterations: list[int] | None = None
    """Those that were run and those of a whole search, where a search counts them."""
    num_known: int | None = None
    """Known labels, which do not count in `label_accuracy`; None if none are known."""
    num_labelled: int | None = None
    """Examples that the search itself has labelled, where it says so."""
    extrapolated: float | None = None
    """The factor by which to extrapolate the cost to a whole search, in proportion to labelled examples."""
    u_own_order: float | None = None
    """U by the search's own last pass."""

    @property
    def name(self) -> str:
        return self.search

    @property
    def u(self) -> float:
        return self.weighed.u

    @property
    def is_extrapolated(self) -> bool:
        return self.extrapolated not in (None, 1.0)

    def whole(self, tokens: str) -> float:
        """`tokens`, `fixed_tokens` or `fixed_tokens_cold` of the whole search, extrapolated if it was ended early."""
        return float(getattr(self, tokens)) * (self.extrapolated or 1.0)


class SearchRows:
    """Makes the rows of searches; those of the reference search set the others' budgets."""

    def __init__(self, plan: BenchPlan):
        self._plan = plan

    def depends_on(self, case: Case, name: str, reference: SearchRow | None) -> dict[str, Any]:
        search = search_named(name)
        return {
            **case.to_dict(),
            "budget": _budget(search, reference),
            **({"settings": self._plan.settings(search, case.num, case.seed).to_dict()} if search else {}),
        }

    async def row(self, case: Case, name: str, reference: SearchRow | None, steps: Steps) -> SearchRow:
        search, opened = search_named(name), await case.open()
        costs: dict[str, Any] = {}
        labels = case.gold
        if search:
            budget = _budget(search, reference)
            found = await case.search(
                opened,
                self._plan.settings(search, case.num, case.seed),
                budget_tokens=budget,
                counts_fixed=search.kind.plan == FIXED,
                on_share=lambda share: steps.reach(0.8 * share),
            )
            costs, labels = {**found.figures(), "budget": budget, **self._iterations(case, search, found)}, found.labels
        predictions = await opened.many_shot.predict(labels)
        return SearchRow(
            **case.key_fields,
            search=name,
            **costs,
            weighed=await case.weighed(labels),
            label_accuracy=accuracy(labels, case.gold_to_find).value,
            num_known=case.num_known or None,
            test_accuracy=accuracy(predictions.raw, case.gold_test).value,
            test_accuracy_calibrated=accuracy(predictions.calibrated, case.gold_test).value,
            label_rates=label_rates(labels, len(case.task.labels)).tolist(),
            labels=labels,
        )

    def _iterations(self, case: Case, search: ComparedSearch, found: SearchCost) -> dict[str, Any]:
        """The further figures of a search that counts iterations, or whose own plan is `fixed`."""
        result, figures = found.outcome.result, dict[str, Any]()
        if search.kind.plan == FIXED:
            figures |= {
                "fixed_tokens": found.counter.fixed_tokens,
                "fixed_tokens_cold": found.counter.fixed_tokens_cold,
            }
        done_and_all = self._plan.iterations(search, case.num)
        if done_and_all:
            num_labelled = int(result.notes.get("num_labelled", case.num))
            figures |= {
                "iterations": list(done_and_all),
                "num_labelled": num_labelled,
                "extrapolated": case.num / num_labelled if done_and_all[0] < done_and_all[1] else 1.0,
                "u_own_order": result.winner.u_own,
            }
        return figures


def _budget(search: ComparedSearch | None, reference: SearchRow | None) -> int | None:
    """Tokens that a search is stopped at; None where it comes to its own end."""
    return reference.tokens if search and search.kind.is_stopped and reference else None
