"""One task, model and seed: labels by a method, and how well they prompt the model on unseen examples."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icm_annealer.arrays import Ints
from icm_annealer.evaluate import ManyShot
from icm_annealer.examples import Example, Loaded, consistency_of, labels_of, sample
from icm_annealer.objective import Measure, Objective
from icm_annealer.passes import Ask, Pass, PassScorer, Scorer
from icm_annealer.plan import PlanKind
from icm_annealer.search.base import Problem, Search
from icm_annealer.task import Task

HUMAN = "human"
"""The field of a row that holds what people say."""


@dataclass(frozen=True)
class Found:
    """Labels, and how many reads an example they took."""

    labels: Ints
    passes: float


class Trial:
    """Create it with `open`. A search sees of it what `problem` holds: numbers; `gold` is for those who judge."""

    def __init__(self, task: Task, train: Sequence[Example], gold: Ints, gold_test: Ints, many_shot: ManyShot):
        self.task, self.train, self.gold, self.gold_test = task, train, gold, gold_test
        self._many_shot = many_shot
        self._passes: PassScorer | None = None
        self._found: dict[str, Found] = {}

    @classmethod
    async def open(cls, scorer: Scorer, task: Task, loaded: Loaded, num: int, num_test: int, seed: int) -> Trial:
        """Draws `num` examples and a test set as `icm demo` does."""
        model = await scorer.model()
        train, test = sample(loaded.examples, num, num_test, np.random.default_rng(seed))
        gold, gold_test = (labels_of(part, loaded.gold, task) for part in (train, test))
        trial = cls(task, train, gold, gold_test, await ManyShot.open(scorer, task, train, test, model, seed=seed))
        trial._passes = await PassScorer.open(scorer, task, train, trial._units(task), model, "default")
        return trial

    def problem(self, measure: Measure, plan: str, *, with_rules: bool = True) -> Problem:
        """What a search sees; without rules nothing contradicts, and what is left out of a context stays as it was."""
        task = self.task if with_rules else self.task.model_copy(update={"rules": []})
        consistency = consistency_of(task, self.train)
        objective = Objective(measure, 50.0)
        return Problem(len(self.train), 2, self._units(task), consistency, objective, PlanKind.parse(plan))

    def human(self) -> Ints:
        """The labels that people gave."""
        names = self.task.label_names
        return np.array([names.index(example.facts[HUMAN]) for example in self.train])

    async def search(self, name: str, search: Search) -> Found:
        """Drives a search to its end; the same name is not searched for twice."""
        if name not in self._found:
            self._found[name] = await self._drive(search)
        return self._found[name]

    async def _drive(self, search: Search) -> Found:
        num_reads = 0
        asks = next(search)
        while True:
            answers = await self._answer(asks)
            num_reads += sum(len(ask.queries) for ask in asks)
            try:
                asks = search.send(answers)
            except StopIteration as stop:
                return Found(stop.value.winner.labels, num_reads / len(self.train))

    async def num_right(self, labels: Ints | None) -> int:
        """Right predictions on the test set behind all examples with these labels; zero-shot for None."""
        predicted = (await self._many_shot.predict(labels)).raw
        return int((predicted == self.gold_test).sum())

    def _units(self, task: Task) -> list[Ints]:
        if task.leave_out == "group":
            return list(consistency_of(task, self.train).groups)
        return [np.array([number]) for number in range(len(self.train))]

    async def _answer(self, asks: Sequence[Ask]) -> list[Pass]:
        assert self._passes is not None
        return list(await asyncio.gather(*(self._passes.score(ask) for ask in asks)))
