"""One task, model and seed: labels by a method, and how well they prompt the model on unseen examples."""

from __future__ import annotations

from dataclasses import dataclass, replace

from icm_annealer.benchmarks.baselines.reference_labels import human_labels
from icm_annealer.benchmarks.case import Case, Opened
from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import consistency_of
from icm_annealer.search.base import Problem, Search
from icm_annealer.search.driver import drive
from icm_annealer.searches.settings import Settings

HUMAN = "human"
"""The field of a row with the labels of people."""


@dataclass(frozen=True)
class Found:
    """Labels, and the reads per example of the search."""

    labels: Ints
    passes: float


class Trial:
    """A case that remembers what its searches found. Create it with `open`.

    A search receives only `problem`, which holds numbers; `gold` is for evaluation.
    """

    def __init__(self, case: Case, opened: Opened):
        self._case, self._opened = case, opened
        self.train, self.gold, self.gold_test = case.train, case.gold, case.gold_test
        self._found: dict[str, Found] = {}

    @classmethod
    async def open(cls, case: Case) -> Trial:
        return cls(case, await case.open())

    def problem(self, settings: Settings, *, with_rules: bool = True) -> Problem:
        """The input of a search. Without rules nothing is a contradiction; contexts leave out the same groups."""
        problem = self._case.problem(settings.objective(), settings.plan_kind())
        if with_rules:
            return problem
        task = self._case.task.model_copy(update={"rules": []})
        return replace(problem, consistency=consistency_of(task, self.train))

    def human(self) -> Ints:
        """The labels that people gave."""
        return human_labels(self.train, HUMAN, self._case.task)

    async def search(self, name: str, problem: Problem, search: Search) -> Found:
        """Runs a search over `problem` to its end; the same name is not searched for twice."""
        if name not in self._found:
            outcome = await drive(search, problem, self._opened.passes)
            self._found[name] = Found(outcome.labels, outcome.reads_per_example)
        return self._found[name]

    async def num_right(self, labels: Ints | None) -> int:
        """Right predictions on the test set behind all examples with these labels; zero-shot for None."""
        predicted = (await self._opened.many_shot.predict(labels)).raw
        return int((predicted == self.gold_test).sum())
