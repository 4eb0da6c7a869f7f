"""One task, size and seed, with the same examples, test set and contexts for every compared method."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.benchmarks.weighing import USUAL_WEIGHING, Weighed, Weigher, WeighPlan
from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example, Loaded, digest, labels_of, sample
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.label_columns import searched_fields
from icm_annealer.data.task import Task
from icm_annealer.evaluation.many_shot import NUM_ORDERS, ManyShot
from icm_annealer.labelling.verdict import verdict
from icm_annealer.scoring.cost_model import PassTokens, TokenCounter
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassScorer, Scorer, window_of
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, zero_shot_labels_of
from icm_annealer.search.driver import OnPass, SearchOutcome, drive
from icm_annealer.search.problem import problem_of
from icm_annealer.searches.settings import Settings
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelInfo
from icm_client.text.counts import counted


class TaskData(NamedTuple):
    """A task and its data."""

    task: Task
    loaded: Loaded


class Sample(NamedTuple):
    """Examples to label and others to test on, with their gold labels (-1 where there is none)."""

    train: list[Example]
    test: list[Example]
    gold: Ints
    gold_test: Ints


def draw_sample(data: TaskData, num: int, num_test: int, seed: int) -> Sample:
    """Draws `num` examples to label (a few more if groups require it), those with known labels first, and a test set.

    Raises RequestError if the data hold too few, or no gold label for any test example.
    """
    task, loaded = data
    train, test = sample(loaded.examples, num, num_test, np.random.default_rng(seed), loaded.known)
    gold, gold_test = (labels_of(part, loaded.gold, task) for part in (train, test))
    if len(train) < num or not (gold_test >= 0).any():
        raise RequestError(
            f"{task.name}: {counted(len(loaded.examples), 'example is', 'examples are')} too few for {num} to label "
            "and a test set with gold labels"
        )
    return Sample(train, test, gold, gold_test)


class Opened(NamedTuple):
    """The scorers of one case's passes and of its test set, and the token ids for counting."""

    passes: PassScorer
    texts: PassTokens
    many_shot: ManyShot

    def counter(self, *, counts_fixed: bool = False) -> TokenCounter:
        """A counter for one search."""
        return TokenCounter(self.passes, self.texts, counts_fixed=counts_fixed)


class SearchCost(NamedTuple):
    """A finished search, with its token counts."""

    outcome: SearchOutcome
    counter: TokenCounter
    problem: Problem

    @property
    def labels(self) -> Ints:
        return self.outcome.labels

    @property
    def zero_shot_labels(self) -> Ints:
        """See `zero_shot_labels_of`."""
        return zero_shot_labels_of(self.problem, self.outcome.result)

    def figures(self) -> dict[str, Any]:
        """The costs as fields of a row."""
        outcome, costs = self.outcome, self.outcome.costs
        return {
            "tokens": self.counter.tokens,
            "computed_tokens": costs.usage.computed_tokens,
            "prompt_tokens": costs.usage.prompt_tokens,
            "num_passes": costs.num_passes,
            "reads_per_example": outcome.reads_per_example,
            "seconds": round(costs.seconds, 3),
            "is_stopped": outcome.is_stopped,
            "verdict": verdict(self.problem, outcome.result).name,
        }


SHAPES = ("separator", "labels", "leave_out", "rules", "special_tokens", "rates")
"""The fields of a task that affect a row, besides its examples."""


class Case:
    """The examples of one task, size and seed, drawn as `icm demo` draws them.

    A search receives only `problem`, which holds numbers. `gold` and `gold_test` are for evaluation.
    """

    def __init__(
        self,
        data: TaskData,
        num: int,
        num_test: int,
        seed: int,
        model: ModelInfo,
        scorer: Scorer,
        experiment: str,
        weighing: WeighPlan = USUAL_WEIGHING,
        num_known_from_gold: int = 0,
    ):
        """The gold labels of `num_known_from_gold` random examples become known ones, as if a person had labelled them;
        fewer are among more. Raises RequestError like `draw_sample` and `problem_of`, and if an example to label has no
        gold label."""
        self.task, self.seed = data.task, seed
        self._num_test, self._model, self._scorer, self._experiment = num_test, model, scorer, experiment
        self._weighing = weighing
        self.key = (self.task.name, num, seed)
        self.train, self.test, self.gold, self.gold_test = draw_sample(data, num, num_test, seed)
        if (self.gold < 0).any():
            raise RequestError(
                f"{self.task.name}: {(self.gold < 0).sum()} of {num} examples to label have no gold label: too few have"
            )
        self.num = len(self.train)  # whole groups may add a few examples
        asked = np.random.default_rng([seed, 5]).permutation(self.num)[:num_known_from_gold]
        from_gold = {self.train[k].id: self.task.label_names[self.gold[k]] for k in asked}
        given = GivenLabels({**from_gold, **data.loaded.known})
        self._problem = problem_of(self.task, self.train, Objective(), PlanKind("tree"), given)
        self._opened: dict[str, Opened] = {}
        self._weigher: Weigher | None = None

    @property
    def gold_to_find(self) -> Ints:
        """The gold labels of the examples to label, -1 where the label is known, so that it is no merit to have it."""
        return np.where(self._problem.is_known, -1, self.gold)

    @property
    def num_known(self) -> int:
        """How many of the labels are known."""
        return int(self._problem.is_known.sum())

    @property
    def key_fields(self) -> dict[str, Any]:
        """The fields that identify the case in its rows."""
        return dict(zip(("task", "n", "seed"), self.key, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """The inputs that every row depends on; a saved row with the same inputs is reused."""
        return {
            "model": self._model.identity.model_dump(),
            "window": window_of(self._model),
            "data": digest(all_examples := [*self.train, *self.test], searched_fields(all_examples, self.task)),
            "gold": [zlib.crc32(gold.tobytes()) for gold in (self.gold, self.gold_test)],
            "task": {k: v for k, v in self.task.seen().items() if k in SHAPES},
            "num_test": self._num_test,
            "num_test_orders": NUM_ORDERS,
            **({"known": zlib.crc32(known.tobytes())} if (known := self._problem.known) is not None else {}),
            "weighing": self._weighing.to_dict(),
        }

    async def open(self, preamble: str = "") -> Opened:
        """Opens the scorers for a `preamble`, the text at the start of every prompt; cached by preamble."""
        if preamble not in self._opened:
            scorer, task, train, model, named = self._scorer, self.task, self.train, self._model, self._experiment
            units = self._problem.units
            passes = await PassScorer.open(scorer, task, train, units, model, named, preamble=preamble)
            texts = await PassTokens.of(passes)
            many_shot = await ManyShot.open(
                scorer, task, train, self.test, model, seed=self.seed, experiment=named, preamble=preamble
            )
            self._opened[preamble] = Opened(passes, texts, many_shot)
        return self._opened[preamble]

    async def weighed(self, labels: Ints) -> Weighed:
        """U of labels of all examples, beside U of the gold and of the zero-shot labels, on fresh orders that are the
        same for all labels of the case. No search is charged for it, and none sees it."""
        if self._weigher is None:
            passes = (await self.open()).passes
            self._weigher = Weigher(passes, self._problem, self.gold, self._weighing, self.seed)
        return await self._weigher.weighed(labels)

    def problem(self, objective: Objective, plan: PlanKind) -> Problem:
        return replace(self._problem, objective=objective, plan=plan)

    async def search(
        self,
        opened: Opened,
        settings: Settings,
        *,
        budget_tokens: int | None = None,
        counts_fixed: bool = False,
        on_share: Callable[[float], None],
    ) -> SearchCost:
        """Runs a search to its end or its budget; `on_share` is called with the approximate fraction done. A search
        that cannot respect label rates is run without them."""
        problem = self.problem(settings.objective(), settings.plan_kind())
        if not settings.kind.respects_rates:
            problem = replace(problem, rates=None)
        counter = opened.counter(counts_fixed=counts_fixed)
        on_pass = _shares(settings, self.num, counter, budget_tokens, on_share)
        search = settings.start(problem)
        outcome = await drive(
            search,
            problem,
            opened.passes,
            on_pass=on_pass,
            counter=counter,
            stops=None if budget_tokens is None else lambda *_: counter.tokens >= budget_tokens,
        )
        return SearchCost(outcome, counter, problem)


def _shares(
    settings: Settings, num: int, counter: TokenCounter, budget_tokens: int | None, on_share: Callable[[float], None]
) -> OnPass:
    """A callback that reports progress as a fraction of the budget, or of the expected passes."""
    expected, num_asked = settings.expected_passes(num), 0

    def on_pass(event: PassEvent) -> None:
        nonlocal num_asked
        if budget_tokens:
            on_share(counter.tokens / budget_tokens)
        elif expected:
            num_asked += expected.counts(event.request)
            on_share(min(num_asked / expected.num, 1.0))

    return on_pass
