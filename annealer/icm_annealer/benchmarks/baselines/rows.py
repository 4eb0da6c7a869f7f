"""One row per method and seed: the cost and accuracy of its labels, and the metrics on held-out examples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from icm_annealer.benchmarks.baselines.methods import METHODS, Given
from icm_annealer.benchmarks.baselines.plan import BaselinesPlan
from icm_annealer.benchmarks.case import Case
from icm_annealer.benchmarks.runner import Steps
from icm_annealer.benchmarks.saved_rows import Numbers, SearchCosts
from icm_annealer.benchmarks.search_presets import find_compared
from icm_annealer.benchmarks.weighing import Weighed
from icm_annealer.core.arrays import Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.core.objective import label_rates
from icm_annealer.evaluation.many_shot import accuracy
from icm_annealer.evaluation.test_set import Judge
from icm_annealer.searches.settings import Settings


class BaselineRow(SearchCosts):
    """One method on one task, size and seed."""

    method: str
    label_accuracy: Estimate
    label_rates: list[float]
    figures: dict[str, dict[str, Estimate]]
    """On the test set, by kind (raw, calibrated) and name (accuracy, ...)."""
    weighed: Weighed | None = None
    """None if an example has no label."""
    test_computed_tokens: int
    num_dropped: int
    labels: Numbers
    """Label number by example, -1 without a label."""
    right: dict[str, Numbers]
    """By kind: 1 for each test example that is predicted right. Paired intervals are made of it."""
    test_units: Numbers
    """The unit of each of these; examples of one unit are drawn together."""

    @property
    def name(self) -> str:
        return self.method


class _Labelled(NamedTuple):
    labels: Ints
    """Label number by example, -1 without a label."""
    costs: dict[str, Any]


class BaselineRows:
    """Makes the rows. ICM's are the reference: they set a budget, and the accuracy that noise is to have."""

    def __init__(self, plan: BaselinesPlan):
        self._plan = plan

    def depends_on(self, case: Case, name: str, reference: BaselineRow | None) -> dict[str, Any]:
        method = METHODS[name]
        return {
            **case.to_dict(),
            "budget": self._budget(name, reference),
            **({"settings": self._settings(name, case.seed).to_dict()} if method.search else {}),
            **method.of(self._given(case, reference)),
        }

    async def row(self, case: Case, name: str, reference: BaselineRow | None, steps: Steps) -> BaselineRow:
        method = METHODS[name]
        opened = await case.open(method.preamble(self._plan.offer))
        labels, costs = await self._labelled(case, name, reference, steps)
        predictions = await opened.many_shot.predict(labels if method.prompts_with_labels else None)
        judge = Judge(case.test, case.gold_test, case.seed)
        judged = judge.judged(predictions)
        known = labels[labels >= 0]
        return BaselineRow(
            **case.key_fields,
            method=name,
            **costs,
            label_accuracy=accuracy(labels, np.where(labels >= 0, case.gold_to_find, -1)),
            label_rates=label_rates(known, len(case.task.labels)).tolist(),
            figures=judge.figures(judged),
            weighed=await case.weighed(labels) if (labels >= 0).all() else None,
            test_computed_tokens=predictions.usage.computed_tokens,
            num_dropped=predictions.num_dropped,
            labels=labels,
            right={kind: one.is_right.astype(np.int64) for kind, one in judged.items()},
            test_units=judge.units,
        )

    async def _labelled(self, case: Case, name: str, reference: BaselineRow | None, steps: Steps) -> _Labelled:
        method = METHODS[name]
        if method.labels:
            return _Labelled(method.labels(self._given(case, reference)), {"tokens": 0})
        budget = self._budget(name, reference)
        found = await case.search(
            await case.open(method.preamble(self._plan.offer)),
            self._settings(name, case.seed),
            budget_tokens=budget,
            on_share=lambda share: steps.reach(0.8 * share),
        )
        labels = found.labels if method.prompts_with_labels else found.zero_shot_labels
        return _Labelled(labels, {**found.figures(), "budget": budget})

    def _given(self, case: Case, reference: BaselineRow | None) -> Given:
        return Given(case, self._plan.offer, reference.labels if reference else None)

    def _settings(self, name: str, seed: int) -> Settings:
        return find_compared(METHODS[name].search).settings(seed)

    def _budget(self, name: str, reference: BaselineRow | None) -> int | None:
        stops = self._plan.stops and METHODS[name].is_stopped
        return reference.tokens if stops and reference else None
