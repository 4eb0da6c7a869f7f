"""Evaluates labels as shots for unseen examples. The only module of a run that uses gold labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.data.examples import Example
from icm_annealer.data.rates import label_rates_of
from icm_annealer.data.task import Task
from icm_annealer.evaluation.calibration import calibrated_to
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.scoring.passes import PassRequest, PassResult, PassScorer, Scorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_client.contract.wire import ModelInfo, Usage

ONE_CONTEXT = PlanKind("folds", 2)
"""All test examples have the same context under any plan; this one can end it on a block boundary of the cache."""
NUM_ORDERS = 2
"""Number of context orders over which predictions are averaged."""


@dataclass(frozen=True)
class Predictions:
    """Raw log-probabilities [test example, label], averaged over the orders of the context."""

    logprobs: Array
    usage: Usage
    num_dropped: int = 0
    """Shots that did not fit the model's window, in the context that dropped the most."""
    rates: LabelRates | None = None
    """The label rates that the task states; None if it states none."""

    @property
    def raw(self) -> Ints:
        labels: Ints = self.logprobs.argmax(axis=1)
        return labels

    @property
    def calibrated_scores(self) -> Array:
        """See `calibrated_to`."""
        return calibrated_to(self.rates, self.logprobs)

    @property
    def calibrated(self) -> Ints:
        """Predictions after calibration."""
        labels: Ints = self.calibrated_scores.argmax(axis=1)
        return labels


class ManyShot:
    """Prompts the model with labelled examples as context for unseen ones. Create it with `open`."""

    def __init__(
        self, passes: PassScorer, num_train: int, num_test: int, orders: Sequence[Ints], rates: LabelRates | None
    ):
        self._passes, self._num_train, self._num_test = passes, num_train, num_test
        self._orders, self._rates = orders, rates

    @classmethod
    async def open(
        cls,
        scorer: Scorer,
        task: Task,
        train: Sequence[Example],
        test: Sequence[Example],
        model: ModelInfo,
        *,
        num_orders: int = NUM_ORDERS,
        seed: int = 0,
        experiment: str = "default",
        preamble: str = "",
    ) -> ManyShot:
        """`num_orders` contexts from `seed`. All sets of labels use the same orders, so they can be compared."""
        units = [np.array([i]) for i in range(len(train) + len(test))]
        passes = await PassScorer.open(scorer, task, [*train, *test], units, model, experiment, preamble=preamble)
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(len(units)) for _ in range(num_orders)]
        return cls(passes, len(train), len(test), orders, label_rates_of(task.rates, task.label_names))

    async def predict(self, train_labels: Ints | None) -> Predictions:
        """Predictions with all training examples, so labelled, as context; zero-shot for None."""
        labels = np.full(self._num_train + self._num_test, -1)
        queries = np.arange(self._num_train, len(labels))
        orders = self._orders if train_labels is not None else self._orders[:1]
        if train_labels is not None:
            labels[: self._num_train] = train_labels
        answers: list[PassResult] = []
        for order in orders:
            answers.append(await self._passes.score(PassRequest(labels, queries, order, ONE_CONTEXT, "evaluate")))
        usage = sum((answer.usage for answer in answers), Usage())
        num_dropped = max(answer.num_dropped for answer in answers)
        return Predictions(np.mean([answer.logprobs for answer in answers], axis=0), usage, num_dropped, self._rates)


def accuracy(predicted: Ints, gold: Ints) -> Estimate:
    """Share of right labels among those whose gold is known (>= 0), with Wilson's interval."""
    known = gold >= 0
    return wilson(int((predicted[known] == gold[known]).sum()), int(known.sum()))


def random_labels(num: int, num_labels: int, rng: np.random.Generator) -> Ints:
    """Uniform random labels, the random few-shot baseline's."""
    return rng.integers(num_labels, size=num)
