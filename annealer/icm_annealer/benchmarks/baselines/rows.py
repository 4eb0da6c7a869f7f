"""A row a method and seed: what its labels cost, how many are right, and how well they prompt on unseen examples."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.benchmarks.baselines.methods import HUMAN, ICM, METHODS, NOISE, PREFIXED, RANDOM
from icm_annealer.benchmarks.baselines.plan import BaselinesPlan
from icm_annealer.benchmarks.baselines.reference_labels import human_labels, with_noise
from icm_annealer.benchmarks.case import Case, Opened
from icm_annealer.benchmarks.runner import Row, Steps, joined, parted
from icm_annealer.benchmarks.search_presets import CONTESTANTS
from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import label_rates
from icm_annealer.evaluation.many_shot import accuracy, random_labels
from icm_annealer.evaluation.metrics import Judged
from icm_annealer.evaluation.test_set import Judge
from icm_annealer.search.settings import Settings


class _Labelled(NamedTuple):
    """What a method says of the examples, and what it prompts with."""

    labels: Ints
    """By example, -1 where it says nothing."""
    shots: Ints | None
    """The same, unless it prompts with none."""
    costs: dict[str, Any]


class BaselineRows:
    """Makes the rows. ICM's are the others' anchor: they set a budget, and the accuracy that noise is to have."""

    anchor = ICM

    def __init__(self, plan: BaselinesPlan):
        self._plan = plan

    def to_dict(self, case: Case, name: str, anchor: Row | None) -> Row:
        to_dict: dict[str, Any] = {**case.to_dict(), "budget": self._budget(name, anchor)}
        if METHODS[name].search:
            to_dict["settings"] = self._settings(name, case.seed).to_dict()
        if name == PREFIXED:
            to_dict["prefix"] = zlib.crc32(self._plan.prefix.encode())
        elif name == HUMAN:
            # Rows of people's labels and of noise may be saved where nobody names the field or ICM's is not there.
            to_dict["human"] = zlib.crc32(self._human(case).tobytes()) if self._plan.human is not None else None
        elif name == NOISE:
            to_dict["num_wrong"] = _num_wrong(case, anchor) if anchor is not None else None
        return to_dict

    async def row(self, case: Case, name: str, anchor: Row | None, steps: Steps) -> Row:
        labelled = await self._labelled(case, name, anchor, steps)
        predictions = await (await self._opened(case, name)).many_shot.predict(labelled.shots)
        judge = Judge(case.test, case.gold_test, case.seed)
        judged = judge.judged(predictions.logprobs)
        known = labelled.labels[labelled.labels >= 0]
        return {
            "method": name,
            **labelled.costs,
            "label_accuracy": accuracy(labelled.labels, np.where(labelled.labels >= 0, case.gold, -1)).to_dict(),
            "label_rates": label_rates(known, len(case.task.labels)).tolist(),
            "figures": {
                kind: {figure: estimate.to_dict() for figure, estimate in figures.items()}
                for kind, figures in judge.figures(judged).items()
            },
            "test_computed_tokens": predictions.usage.computed_tokens,
            "num_dropped": predictions.num_dropped,
            "labels": joined(labelled.labels),
            # What paired intervals are made of; examples of one unit are drawn together.
            "right": {kind: joined(_is_right(one)) for kind, one in judged.items()},
            "test_units": joined(judge.units),
        }

    async def _opened(self, case: Case, name: str) -> Opened:
        return await case.open(self._plan.prefix if name == PREFIXED else "")

    async def _labelled(self, case: Case, name: str, anchor: Row | None, steps: Steps) -> _Labelled:
        method = METHODS[name]
        if not method.search:
            labels = self._given(case, name, anchor)
            return _Labelled(labels, labels, {"tokens": 0})
        budget = self._budget(name, anchor)
        trial = await case.search(
            (await self._opened(case, name)).arena,
            self._settings(name, case.seed),
            budget_tokens=budget,
            on_share=lambda share: steps.reach(0.8 * share),
        )
        costs = {**trial.cost_figures(), "budget": budget}
        if method.search == "zero_shot":
            return _Labelled(trial.result.zero_shot_labels, None, costs)
        return _Labelled(trial.labels, trial.labels, costs)

    def _given(self, case: Case, name: str, anchor: Row | None) -> Ints:
        num_labels = len(case.task.labels)
        if name == RANDOM:
            return random_labels(case.num, num_labels, np.random.default_rng([case.seed, 1]))
        if name == NOISE:
            rng = np.random.default_rng([case.seed, 4])
            return with_noise(case.gold, _num_wrong(case, anchor), num_labels, rng)
        return self._human(case) if name == HUMAN else case.gold

    def _human(self, case: Case) -> Ints:
        assert self._plan.human is not None  # the method takes part only where it was named
        return human_labels(case.train, self._plan.human, case.task)

    def _settings(self, name: str, seed: int) -> Settings:
        return CONTESTANTS[METHODS[name].search].model_copy(update={"seed": seed})

    def _budget(self, name: str, anchor: Row | None) -> int | None:
        stops = self._plan.stops and METHODS[name].is_stopped and anchor is not None
        return int(anchor["tokens"]) if stops and anchor else None


def _num_wrong(case: Case, anchor: Row | None) -> int:
    assert anchor is not None  # noise takes part only where ICM does, which comes first
    return int((parted(anchor["labels"]) != case.gold).sum())


def _is_right(judged: Judged) -> Ints:
    right: Ints = judged.is_right.astype(np.int64)
    return right
