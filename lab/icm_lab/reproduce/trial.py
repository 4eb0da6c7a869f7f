"""One task, model and seed: labels by a method, and what they are worth on unseen examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icm_annealer.benchmarks.baselines.reference_labels import human_labels
from icm_annealer.benchmarks.case import Case, Opened, TaskData
from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import Example, consistency_of, labels_of
from icm_annealer.evaluation.run_evaluation import not_labelled
from icm_annealer.search.base import Problem, Search, zero_shot_labels_of
from icm_annealer.search.driver import drive
from icm_annealer.searches.settings import Settings
from icm_lab.reproduce.trainings import ORIGIN, Rounds, Trainings
from icm_trainer.rm.pairing import Pairing, PairOptions, pairing_of
from icm_trainer.sft.labelled import LabelledExample, LabelSet

HUMAN = "human"
"""The field of a row with the labels of people."""


@dataclass(frozen=True)
class Found:
    """Labels, and the reads per example of the search."""

    labels: Ints
    passes: float
    zero_shot: Ints | None = None
    """The calibrated zero-shot labels that a search began with."""


class Score(NamedTuple):
    """How many are right, of how many."""

    right: float
    num: int


class Trial:
    """A case that remembers what its searches found. Create it with `open`.

    A search receives only `problem`, which holds numbers; `gold` is for evaluation, and for reference labels.
    """

    def __init__(self, case: Case, opened: Opened, rest: LabelSet, trainings: Trainings):
        self._case, self._opened, self._rest, self._trainings = case, opened, rest, trainings
        self.train, self.gold, self.gold_test = case.train, case.gold, case.gold_test
        self._found: dict[str, Found] = {}

    @classmethod
    async def open(cls, case: Case, data: TaskData, trainings: Trainings) -> Trial:
        """`data` are those that the case was drawn from; models are tuned by `trainings`, if any are."""
        rest = not_labelled(data.loaded, [*case.train, *case.test])
        labels = labels_of(rest, data.loaded.gold, data.task)
        return cls(case, await case.open(), _label_set(case, rest, labels), trainings)

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
            zero_shot = zero_shot_labels_of(problem, outcome.result)
            self._found[name] = Found(outcome.labels, outcome.reads_per_example, zero_shot)
        return self._found[name]

    async def prompted(self, labels: Ints | None) -> Score:
        """Right predictions on the test set behind all examples with these labels; zero-shot for None."""
        predicted = (await self._opened.many_shot.predict(labels)).raw
        return self._right(predicted)

    async def tuned(self, labels: Ints) -> Score:
        """Right predictions on the test set by a model that was tuned on these labels. From one label alone nothing can
        be learnt but to answer it."""
        there = np.unique(labels[labels >= 0])
        if len(there) < 2:
            return self._right(np.full(len(self.gold_test), there[0]))
        classifier = await self._trainings.classifier(_label_set(self._case, self.train, labels), self._case.seed)
        return self._right(classifier.logprobs([example.text for example in self._case.test]).argmax(axis=1))

    async def relabelled(self, labels: Ints, problem: Problem) -> Rounds:
        """Rounds of labels from tuned models that start from these; `problem` holds the rules."""
        return await self._trainings.relabelled(self._case.task, self.train, problem, labels, self._case.seed)

    async def ranked(self, labels: Ints) -> Score:
        """Pairs by the gold labels of the test set that a reward model of these labels ranks rightly; a tie is half."""
        test = _label_set(self._case, self._case.test, self.gold_test)
        pairs = self._pairing.by_labels(test.rows)
        model = await self._reward(_label_set(self._case, self.train, labels))
        return Score(*self._trainings.ranked(model, pairs))

    async def wins(self, labels: Ints, others: Ints | None) -> Score:
        """Wins of a policy by these labels over its start, or over that by other labels. The judge is a reward model of
        the gold labels of the rows that are neither labelled nor tested on."""
        judge, own = await self._reward(self._rest), await self._policy(labels)
        other = None if others is None else await self._policy(others)
        return Score(*await self._trainings.wins(own, other, judge, self._case.seed))

    @property
    def _pairing(self) -> Pairing:
        return pairing_of(self._case.task, self.train, PairOptions())

    async def _reward(self, labels: LabelSet) -> Path:
        pairing = self._pairing
        pairs = pairing.by_labels(labels.rows)
        return await self._trainings.reward(pairing.form, pairing.better, pairs, self._case.seed)

    async def _policy(self, labels: Ints) -> Path:
        reward = await self._reward(_label_set(self._case, self.train, labels))
        every = [*self.train, *self._case.test, *(row.example for row in self._rest.rows)]
        return await self._trainings.policy(reward, self._pairing.form, every, self._case.seed)

    def _right(self, predicted: Ints) -> Score:
        return Score(float((predicted == self.gold_test).sum()), len(self.gold_test))


def _label_set(case: Case, examples: Sequence[Example], labels: Ints) -> LabelSet:
    """Those that have a label."""
    names = case.task.label_names
    rows = [LabelledExample(one, names[label]) for one, label in zip(examples, labels, strict=True) if label >= 0]
    return LabelSet(case.task, rows, ORIGIN)
