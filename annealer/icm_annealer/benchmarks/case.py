"""One task, size and seed: the same examples, test set and contexts for every method that is tried."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.benchmarks.budgeted_search import Arena, Costs, Trial
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Loaded, consistency_of, digest, labels_of, sample
from icm_annealer.data.task import Task
from icm_annealer.evaluation.many_shot import NUM_ORDERS, ManyShot
from icm_annealer.scoring.cost_model import TextTokens
from icm_annealer.scoring.passes import PassScorer, Scorer, window_of
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem
from icm_annealer.search.settings import Settings
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelInfo


class TaskData(NamedTuple):
    """A task and its data."""

    task: Task
    loaded: Loaded


class Opened(NamedTuple):
    """Where searches ask, and where labels are put to the test."""

    arena: Arena
    many_shot: ManyShot


SHAPES = ("separator", "labels", "leave_out", "rules", "special_tokens")
"""What of a task shapes a row besides its examples."""


class Case:
    """The examples of one task, size and seed, drawn as `icm demo` draws them.

    A search sees of it what `problem` holds: numbers. `gold` and `gold_test` are for those who judge.
    """

    def __init__(
        self, data: TaskData, num: int, num_test: int, seed: int, model: ModelInfo, scorer: Scorer, experiment: str
    ):
        (self.task, loaded), self.seed = data, seed
        self._num_test, self._model, self._scorer, self._experiment = num_test, model, scorer, experiment
        self.key = (self.task.name, num, seed)
        self.train, self.test = sample(loaded.examples, num, num_test, np.random.default_rng(seed))
        self.gold, self.gold_test = (labels_of(part, loaded.gold, self.task) for part in (self.train, self.test))
        if len(self.train) < num or (self.gold < 0).any() or not (self.gold_test >= 0).any():
            raise RequestError(
                f"{self.task.name} holds {len(loaded.examples)} examples: too few, or too few with gold labels, for "
                f"{num} to label and a test set"
            )
        self.num = len(self.train)  # whole groups may make it a few more than were asked for
        self._consistency = consistency_of(self.task, self.train)
        alone = [np.array([i]) for i in range(self.num)]
        self._units = self._consistency.groups if self.task.leave_out == "group" else alone
        self._opened: dict[str, Opened] = {}

    def to_dict(self) -> dict[str, Any]:
        """What every row depends on: one that was made of the same is not made again."""
        return {
            "model": self._model.model_dump(include={"name", "digest", "dtype", "engine"}),
            "window": window_of(self._model),
            "data": digest([*self.train, *self.test]),
            "gold": [zlib.crc32(gold.tobytes()) for gold in (self.gold, self.gold_test)],
            "task": {k: v for k, v in self.task.seen().items() if k in SHAPES},
            "num_test": self._num_test,
            "num_test_orders": NUM_ORDERS,
        }

    async def open(self, preamble: str = "") -> Opened:
        """The same for the same `preamble`, a text that stands in front of every prompt."""
        if preamble not in self._opened:
            scorer, task, train, model, named = self._scorer, self.task, self.train, self._model, self._experiment
            passes = await PassScorer.open(scorer, task, train, self._units, model, named, preamble=preamble)
            tokens = await TextTokens.of(scorer, task, train, model, preamble)
            many_shot = await ManyShot.open(
                scorer, task, train, self.test, model, seed=self.seed, experiment=named, preamble=preamble
            )
            self._opened[preamble] = Opened(Arena(passes, tokens, model), many_shot)
        return self._opened[preamble]

    def problem(self, objective: Objective, plan: PlanKind) -> Problem:
        return Problem(self.num, len(self.task.labels), self._units, self._consistency, objective, plan)

    async def search(
        self,
        arena: Arena,
        settings: Settings,
        *,
        budget_tokens: int | None = None,
        counts_fixed: bool = False,
        on_share: Callable[[float], None],
    ) -> Trial:
        """Runs a search to its end or its budget; `on_share` is told about which share of it is done."""
        usual = settings.usual_passes()

        def on_round(costs: Costs) -> None:
            if settings.search == "official":
                on_share(costs.num_proposals / math.ceil(settings.official.iterations_per_example * self.num))
            elif budget_tokens:
                on_share(costs.tokens / budget_tokens)
            elif usual:
                on_share(min(costs.num_asks / usual, 1.0))

        search = settings.start(self.problem(settings.objective(), settings.plan_kind()))
        return await arena.run(search, budget_tokens=budget_tokens, counts_fixed=counts_fixed, on_round=on_round)
