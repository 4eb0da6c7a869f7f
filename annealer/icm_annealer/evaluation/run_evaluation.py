"""Evaluates labels as shots for held-out examples, compared with zero-shot, gold labels, and a model tuned on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from icm_annealer.console.progress import RunProgress
from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.examples import Example, Loaded, labels_of, sample
from icm_annealer.data.rates import label_rates_of
from icm_annealer.data.task import Task
from icm_annealer.evaluation.certainty import certainty_figures
from icm_annealer.evaluation.many_shot import ManyShot, Predictions, accuracy
from icm_annealer.evaluation.metrics import NUM_BINS, Judged, Resamples, accuracies, gap_recovered, point
from icm_annealer.evaluation.over_seeds import COMPARED, SeedEvaluation, figures_over_seeds, gaps_over_seeds
from icm_annealer.evaluation.test_set import Judge, describe_intervals
from icm_annealer.runs.schema.evaluation import KINDS, CertaintyFigures, Evaluation, SeedFigures
from icm_annealer.scoring.limited_scorer import BudgetSpentError
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity, Usage
from icm_client.text.counts import counted


@dataclass(frozen=True)
class EvaluationPlan:
    """Options of an evaluation. A seed draws shots and test examples, if not all are used, and two orders."""

    num_examples: int | None = None
    """The number of labelled examples in the context; None for all."""
    num_test: int = 200
    """The most test examples per seed."""
    num_seeds: int = 1
    first_seed: int = 0


class Shots(NamedTuple):
    """The labelled examples, with the run's labels, their certainty, gold labels (-1 where there is none), and which
    labels were known."""

    examples: Sequence[Example]
    found: Ints
    certainty: Array
    gold: Ints
    is_known: npt.NDArray[np.bool_]
    method: str = "icm"
    """The name under which figures of these labels as shots are stored: `icm` for those of a run."""

    @property
    def label_accuracy(self) -> Estimate | None:
        """The share of right labels among those that were found, not known; None without gold labels for them."""
        gold = np.where(self.is_known, -1, self.gold)
        return accuracy(self.found, gold) if (gold >= 0).any() else None

    @property
    def certainty_figures(self) -> CertaintyFigures | None:
        """Of the same labels."""
        judged = np.flatnonzero((self.gold >= 0) & ~self.is_known)
        if not len(judged):
            return None
        examples = [self.examples[number] for number in judged]
        return certainty_figures(examples, self.certainty[judged], (self.found == self.gold)[judged].astype(float))

    def drawn(self, num: int, rng: np.random.Generator) -> Shots:
        """A random part of about `num` examples, in whole groups."""
        chosen = {example.id for example in sample(self.examples, num, 0, rng)[0]}
        kept = np.array([number for number, example in enumerate(self.examples) if example.id in chosen])
        return Shots(
            [self.examples[number] for number in kept],
            self.found[kept],
            self.certainty[kept],
            self.gold[kept],
            self.is_known[kept],
            self.method,
        )


class HeldOut(NamedTuple):
    """Examples that the run did not label, and their gold labels by id."""

    examples: Sequence[Example]
    gold: dict[str, str]


def has_nothing_unseen(test: Loaded, examples: Sequence[Example]) -> bool:
    """Whether `unseen` would find no example."""
    return not any(example.id in test.gold for example in not_labelled(test, examples))


def unseen(test: Loaded, examples: Sequence[Example]) -> HeldOut:
    """The examples with a gold label whose text is not in `examples`, and whose group holds no such text. Raises
    RequestError if none is left."""
    left = not_labelled(test, examples)
    known = [e for e in left if e.id in test.gold]
    if not known:
        raise RequestError(
            (
                f"nothing to test on: of the examples that are not labelled yet ({len(left):,}) none has a gold label"
                if left
                else f"nothing to test on: all {len(test.examples):,} examples (or their groups) are labelled"
            )
            + "; name a file with other examples by --test"
        )
    return HeldOut(known, test.gold)


def not_labelled(test: Loaded, examples: Sequence[Example]) -> list[Example]:
    """The examples whose text is not in `examples`, and whose group holds no such text."""
    texts = {example.text for example in examples}  # another file may use the same ids and groups for other examples
    tied = {e.group for e in test.examples if e.group is not None and e.text in texts}
    return [e for e in test.examples if e.text not in texts and e.group not in tied]


TunedModel = Callable[[Sequence[Example]], Awaitable[Array]]
"""The log-probabilities [example, label] of a model that was tuned on the labels."""


async def evaluate_run(
    run: str,
    shots: Shots,
    test: HeldOut,
    task: Task,
    scorer: Scorer,
    plan: EvaluationPlan,
    progress: RunProgress,
    tuned: TunedModel | None = None,
) -> Evaluation:
    """Evaluates all seeds in sequence, or as many as the scorer's budget allows. `run` is the run's name, or the tuned
    model's.

    Raises BudgetSpentError if that does not suffice for one.
    """
    evaluator = _Evaluator(shots, test, task, scorer, plan, progress, tuned)
    progress.expect(plan.num_seeds * len(evaluator.methods))
    last = plan.first_seed + plan.num_seeds
    seeds: list[SeedEvaluation] = []
    try:
        for seed in range(plan.first_seed, last):
            seeds.append(await evaluator.one_seed(seed))
    except BudgetSpentError:
        if not seeds:
            raise
    figures, usage = [seed.figures for seed in seeds], sum((seed.usage for seed in seeds), Usage())
    known = labels_of(test.examples, test.gold, task)
    return Evaluation(
        run=run,
        task=task.name,
        model=(await scorer.model()).identity,
        num_unseen=len(test.examples),
        label_accuracy=shots.label_accuracy,
        certainty=shots.certainty_figures,
        num_known=int(shots.is_known.sum()) or None,
        stated_rates=task.rates or None,
        num_left_out=plan.num_seeds - len(seeds),
        intervals=describe_intervals(len(seeds), is_grouped=Judge(test.examples, known, 0).is_grouped),
        ece_bins=f"{NUM_BINS} of equal width",
        num_examples=seeds[0].num_examples,
        num_test=seeds[0].num_test,
        num_dropped=max(seed.num_dropped for seed in seeds),
        figures=figures_over_seeds(figures),
        gap_recovered=gaps_over_seeds(figures),
        computed_tokens=usage.computed_tokens,
        cached_tokens=usage.cached_tokens,
        seeds=figures,
    )


def labels_alone(run: str, shots: Shots, task: Task, model: ModelIdentity) -> Evaluation:
    """The evaluation of a run's labels by the gold labels of its own examples, where there is nothing to test on.
    `model` found the labels."""
    return Evaluation(
        run=run,
        task=task.name,
        model=model,
        num_unseen=0,
        label_accuracy=shots.label_accuracy,
        certainty=shots.certainty_figures,
        num_known=int(shots.is_known.sum()) or None,
        intervals="95 %, Wilson",
        ece_bins=f"{NUM_BINS} of equal width",
        num_examples=len(shots.examples),
        num_test=0,
        num_dropped=0,
        figures={},
        gap_recovered={},
        computed_tokens=0,
        cached_tokens=0,
        seeds=[],
    )


@dataclass(frozen=True)
class _Evaluator:
    """Evaluates one seed after another with the same data."""

    shots: Shots
    test: HeldOut
    task: Task
    scorer: Scorer
    plan: EvaluationPlan
    progress: RunProgress
    tuned: TunedModel | None

    @property
    def methods(self) -> list[str]:
        """At most three, which a terminal of 80 columns shows side by side."""
        if self.tuned is not None:
            return ["zero_shot", self.shots.method, "tuned"]
        return ["zero_shot", self.shots.method, *(["gold"] if (self.shots.gold >= 0).all() else [])]

    async def one_seed(self, seed: int) -> SeedEvaluation:
        rng = np.random.default_rng(seed)
        shots, test = self.shots, list(self.test.examples)
        if self.plan.num_examples is not None:
            shots = shots.drawn(self.plan.num_examples, rng)
        if len(test) > self.plan.num_test:
            test = sample(test, 0, self.plan.num_test, rng)[1]
        gold = labels_of(test, self.test.gold, self.task)
        model = await self.scorer.model()
        many_shot = await ManyShot.open(self.scorer, self.task, shots.examples, test, model, seed=seed)
        labels = {"zero_shot": None, shots.method: shots.found, "gold": shots.gold}
        predict = {method: partial(many_shot.predict, given) for method, given in labels.items()}
        predict["tuned"] = partial(self._by_tuned, test)
        judge = Judge(test, gold, seed)
        judged: dict[str, dict[str, Judged]] = {}
        usage, num_dropped = Usage(), 0
        for method in self.methods:
            self.progress.status(f"seed {seed}: {counted(len(test), 'unseen example')}, {method.replace('_', '-')}")
            predictions = await predict[method]()
            usage, num_dropped = usage + predictions.usage, max(num_dropped, predictions.num_dropped)
            judged[method] = judge.judged(predictions)
            self.progress.step()
        figures = {method: judge.figures(kinds) for method, kinds in judged.items()}
        gap = {}
        if judged.keys() >= {*COMPARED}:
            gap = {kind: _gap([judged[method][kind] for method in COMPARED], judge.resamples) for kind in KINDS}
        found = SeedFigures(seed=seed, figures=figures, gap_recovered=gap)
        return SeedEvaluation(found, len(shots.examples), len(test), num_dropped, usage)

    async def _by_tuned(self, test: Sequence[Example]) -> Predictions:
        assert self.tuned is not None
        rates = label_rates_of(self.task.rates, self.task.label_names)
        return Predictions(await self.tuned(test), Usage(), rates=rates)


def _gap(judged: Sequence[Judged], resamples: Resamples) -> Estimate:
    """The gap recovered from zero-shot, ours and gold, over the same resamples."""
    values = [point(accuracies, one) for one in judged]
    return gap_recovered(values, [np.concatenate([accuracies(one, w) for w in resamples]) for one in judged])
