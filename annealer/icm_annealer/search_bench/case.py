"""One task, size and seed: the same examples, test set and orders for all searches."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.arrays import Ints
from icm_annealer.evaluate import ManyShot, accuracy
from icm_annealer.examples import Example, Loaded, consistency_of, digest, labels_of, sample
from icm_annealer.objective import Objective, label_rates
from icm_annealer.passes import PassScorer, Scorer
from icm_annealer.plan import PlanKind
from icm_annealer.prefix_cache import TextTokens
from icm_annealer.progress import RunProgress
from icm_annealer.search.base import Problem
from icm_annealer.search_bench.chain import SURROGATES, chain_check
from icm_annealer.search_bench.contestants import GOLD, OFFICIAL, STOPPED
from icm_annealer.search_bench.plan import BenchPlan
from icm_annealer.search_bench.trial import Arena, Costs, Trial
from icm_annealer.task import Task
from icm_client.errors import RequestError
from icm_client.wire import ModelInfo

CHAIN = "chain"
"""In place of a search: the comparison of measures."""


class BenchTask(NamedTuple):
    """A task and its data."""

    task: Task
    loaded: Loaded


class Steps:
    """Tells the progress of one job, whatever part of it was told already."""

    def __init__(self, progress: RunProgress, weight: float):
        self._progress, self._weight, self._told = progress, weight, 0.0

    def reach(self, share: float) -> None:
        share = min(max(share, self._told), 1.0)
        self._progress.step((share - self._told) * self._weight)
        self._told = share


class Case:
    """One task, size and seed: the same examples, test set and orders for all searches."""

    def __init__(self, task: BenchTask, num: int, seed: int, plan: BenchPlan, model: ModelInfo, scorer: Scorer):
        (self._task, loaded), self._seed = task, seed
        self.key = (self._task.name, num, seed)
        self._plan, self._model, self._scorer = plan, model, scorer
        rng = np.random.default_rng(seed)
        self._train, self._test = sample(loaded.examples, num, plan.num_test, rng)
        self._gold, self._gold_test = (labels_of(part, loaded.gold, self._task) for part in (self._train, self._test))
        if len(self._train) < num or (self._gold < 0).any() or not (self._gold_test >= 0).any():
            raise RequestError(
                f"{self._task.name} holds {len(loaded.examples)} examples: too few, or too few with gold labels, for "
                f"{num} to label and a test set"
            )
        self._num = len(self._train)  # whole groups may make it a few more than were asked for
        self._consistency = consistency_of(self._task, self._train)
        alone = [np.array([i]) for i in range(self._num)]
        self._units = self._consistency.groups if self._task.leave_out == "group" else alone
        self._opened: tuple[Arena, ManyShot] | None = None

    def described(self, search: str, ours: dict[str, Any] | None) -> dict[str, Any]:
        """What a row depends on: one that was made of the same is not made again."""
        described: dict[str, Any] = {
            "model": self._model.model_dump(include={"name", "digest", "dtype", "engine"}),
            "data": digest([*self._train, *self._test]),
            "gold": [zlib.crc32(gold.tobytes()) for gold in (self._gold, self._gold_test)],
            "task": self._task.model_dump(include={"separator", "labels", "leave_out", "rules"}),
            "num_test": self._plan.num_test,
            "num_orders": self._plan.num_orders,
            "weigh_plan": self._plan.weigh_plan,
            "budget": ours["tokens"] if ours and search in STOPPED else None,
        }
        if search == CHAIN:
            described = {**described, "labels": ours["labels"] if ours else None, **SURROGATES.described()}
        elif search != GOLD:
            described["settings"] = self._plan.settings(search, self._num, self._seed).described()
        plain: dict[str, Any] = json.loads(json.dumps(described))
        return plain

    async def run(self, search: str, ours: dict[str, Any] | None, steps: Steps) -> dict[str, Any]:
        """The row of one search."""
        arena, many_shot = self._opened = self._opened or await self._open()
        task, num, seed = self.key
        row: dict[str, Any] = {"task": task, "n": num, "seed": seed}
        if search == CHAIN:
            assert ours is not None  # a plan that checks it has our search take part, and first
            problem = self._problem(Objective(), PlanKind("tree"))
            final = np.array(ours["labels"].split(), dtype=np.int64)
            return {**row, "rows": await chain_check(arena, problem, final, self._seed, steps.reach)}
        costs, labels = {}, self._gold
        if search != GOLD:
            budget = ours["tokens"] if ours and search in STOPPED else None
            trial = await self._search(arena, search, budget, steps)
            costs, labels = self._costs(trial, search, budget), trial.labels
        weighed = await self._weighed(arena, labels)
        predictions = await many_shot.predict(labels)
        return {
            **row,
            "search": search,
            **costs,
            **weighed,
            "label_accuracy": accuracy(labels, self._gold).value,
            "test_accuracy": accuracy(predictions.raw, self._gold_test).value,
            "test_accuracy_calibrated": accuracy(predictions.calibrated, self._gold_test).value,
            "label_rates": label_rates(labels, len(self._task.labels)).tolist(),
            "labels": " ".join(map(str, labels)),
        }

    async def _open(self) -> tuple[Arena, ManyShot]:
        train: Sequence[Example] = self._train
        passes = await PassScorer.open(self._scorer, self._task, train, self._units, self._model, "search-bench")
        tokens = await TextTokens.of(self._scorer, self._task, train, self._model)
        many_shot = await ManyShot.open(
            self._scorer, self._task, train, self._test, self._model, seed=self._seed, experiment="search-bench"
        )
        return Arena(passes, tokens, self._model), many_shot

    def _problem(self, objective: Objective, plan: PlanKind) -> Problem:
        return Problem(self._num, len(self._task.labels), self._units, self._consistency, objective, plan)

    async def _search(self, arena: Arena, search: str, budget: int | None, steps: Steps) -> Trial:
        settings = self._plan.settings(search, self._num, self._seed)
        usual = settings.usual_passes()

        def on_round(costs: Costs) -> None:
            if search == OFFICIAL:
                steps.reach(0.9 * costs.num_proposals / self._plan.iterations(self._num)[0])
            elif budget:
                steps.reach(0.7 * costs.tokens / budget)
            elif usual:
                steps.reach(0.7 * min(costs.num_asks / usual, 1.0))

        problem = self._problem(settings.objective(), settings.plan_kind())
        return await arena.run(
            settings.start(problem), budget_tokens=budget, counts_fixed=search == OFFICIAL, on_round=on_round
        )

    def _costs(self, trial: Trial, search: str, budget: int | None) -> dict[str, Any]:
        costs = trial.costs
        row: dict[str, Any] = {
            "tokens": costs.tokens,
            "computed_tokens": costs.usage.computed_tokens,
            "prompt_tokens": costs.usage.prompt_tokens,
            "num_asks": costs.num_asks,
            "passes": costs.num_reads / self._num,
            "seconds": round(costs.seconds, 3),
            "budget": budget,
            "is_stopped": trial.is_stopped,
        }
        if search == OFFICIAL:
            done, in_all = self._plan.iterations(self._num)
            labelled = int(trial.result.notes["num_labelled"])
            row |= {
                "fixed_tokens": costs.fixed_tokens,
                "fixed_tokens_cold": costs.fixed_tokens_cold,
                "iterations": [done, in_all],
                "num_labelled": labelled,
                # What a whole search would cost, if every label took as much as those that it has.
                "extrapolated": self._num / labelled if done < in_all else 1.0,
                "u_own_order": trial.result.winner.u_own,
            }
        return row

    async def _weighed(self, arena: Arena, labels: Ints) -> dict[str, Any]:
        """U on orders that are the same for all searches of this case; not counted as anybody's cost."""
        rng, costs = np.random.default_rng([self._seed, 2]), Costs()
        problem = self._problem(Objective(), PlanKind.parse(self._plan.weigh_plan))
        margin = self._problem(Objective("margin"), problem.plan)
        us, margins = [], []
        for _ in range(self._plan.num_orders):
            (answer,) = await arena.answer([problem.ask(labels, rng.permutation(len(problem.units)), "weigh")], costs)
            us.append(problem.u(answer, labels))
            margins.append(margin.u(answer, labels))
        return {
            "u": float(np.mean(us)),
            "u_se": float(np.std(us, ddof=1) / math.sqrt(len(us))) if len(us) > 1 else 0.0,
            "u_margin": float(np.mean(margins)),
            "weighing": {"tokens": costs.usage.computed_tokens, "seconds": round(costs.seconds, 3)},
        }
