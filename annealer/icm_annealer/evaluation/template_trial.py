"""Compares tasks that differ in template or verbalizers by what a model makes of them, without gold labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import information
from icm_annealer.data.examples import Example, sample
from icm_annealer.data.rates import label_rates_of
from icm_annealer.data.task import Task
from icm_annealer.evaluation.calibration import calibrated_to
from icm_annealer.evaluation.task_probe import NUM_QUERIES, NUM_SHOTS, ModelCheck
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted


class Trial(NamedTuple):
    """What a model makes of a task."""

    num_queries: int
    zero_shot_mass: float
    """The mean probability of all labels together, without shots."""
    mass: float
    """The same behind shots."""
    agreement: float
    """How often the labels behind two disjoint sets of shots are equal, from 0 (as by chance) to 1: Cohen's kappa. NaN
    if there are too few examples."""
    coherence: float
    """How well each set's context predicts the labels behind the other one, in nats: from 0 (not at all) to the
    logarithm of the number of labels. NaN if there are too few examples."""
    num_shots: int
    """The shots of each set."""
    refusal: str | None = None
    """Why the scorer refuses the task."""

    @property
    def score(self) -> float:
        """The larger, the better: the label mass times the coherence, which tells templates apart whose halves agree
        equally often. Label words that say the opposite of what is meant have the score of the right ones."""
        if self.refusal is not None:
            return -math.inf
        return self.zero_shot_mass if math.isnan(self.coherence) else self.mass * max(self.coherence, 0.0)

    def __str__(self) -> str:
        if self.refusal is not None:
            return f"the scorer refuses: {self.refusal}"
        zero_shot = f"label mass {self.zero_shot_mass:.1%} without shots"
        if math.isnan(self.coherence):
            return zero_shot
        return (
            f"{zero_shot}, {self.mass:.1%} behind {counted(self.num_shots, 'shot')}; agreement of halves "
            f"{self.agreement:.2f}, {self.coherence:.2f} nats"
        )


async def try_task(task: Task, examples: Sequence[Example], scorer: Scorer, seed: int) -> Trial:
    """Labels the same random examples behind each half of some others, which have the model's own zero-shot labels, all
    calibrated. A refusal by the scorer is part of the result; other errors of its client are raised."""
    num_shots = min(2 * NUM_SHOTS, len(examples) // 2)
    shots, queries = sample(examples, num_shots, NUM_QUERIES, np.random.default_rng(seed))
    if not queries:  # a single group, say
        shots, queries = [], list(examples[:NUM_QUERIES])
    check = ModelCheck(task, scorer, (await scorer.model()).max_prompt_tokens)
    half = len(shots) // 2
    try:
        answer = await check.score("", [*shots, *queries])
        bare = np.array(answer.logprobs)
        labels = _labels(task, bare)
        chars = sum(len(example.text) for example in (*shots, *queries)) / answer.usage.prompt_tokens
        longest = max(len(example.text) for example in queries)
        behind: list[Array] = []
        for part in (slice(0, half), slice(half, 2 * half)):
            context = check.context(shots[part], labels[part], chars, longest)
            if context:
                behind.append(np.array((await check.score("".join(context), queries)).logprobs))
    except RequestError as error:
        return Trial(len(queries), math.nan, math.nan, math.nan, math.nan, half, error.message)
    zero_shot_mass = _mass(bare[len(shots) :])
    if len(behind) < 2:
        return Trial(len(queries), zero_shot_mass, math.nan, math.nan, math.nan, half)
    mass = sum(map(_mass, behind)) / 2
    first, second = (_labels(task, logprobs) for logprobs in behind)
    coherence = (information(behind[0], second) + information(behind[1], first)) / 2
    agreement = kappa(first, second, len(task.labels))
    return Trial(len(queries), zero_shot_mass, mass, agreement, coherence, half)


def ranked(trials: Sequence[Trial]) -> list[int]:
    """The numbers of the trials, the best first; of equals, the earlier one."""
    return sorted(range(len(trials)), key=lambda number: -trials[number].score)


def kappa(first: Ints, second: Ints, num_labels: int) -> float:
    """Cohen's kappa of two labellings: their agreement beyond that of two with the same label rates by chance; 0 if
    both have a single label."""
    rates = [np.bincount(labels, minlength=num_labels) / len(labels) for labels in (first, second)]
    by_chance = float(rates[0] @ rates[1])
    return (float((first == second).mean()) - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def _labels(task: Task, logprobs: Array) -> Ints:
    labels: Ints = calibrated_to(label_rates_of(task.rates, task.label_names), logprobs).argmax(axis=1)
    return labels


def _mass(logprobs: Array) -> float:
    return float(np.exp(logprobs).sum(axis=1).mean())
