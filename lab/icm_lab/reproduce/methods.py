"""Where labels come from: the searches and the references that the figures compare."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from icm_annealer.benchmarks.baselines.reference_labels import with_noise
from icm_annealer.core.arrays import Ints
from icm_annealer.evaluation.many_shot import random_labels
from icm_annealer.reporting.methods import TITLES
from icm_annealer.searches.blocks import blocks
from icm_annealer.searches.official import OfficialSettings, official
from icm_annealer.searches.settings import Settings
from icm_lab.reproduce.trial import Found, Trial

OURS = Settings()
PUBLISHED = Settings(search="official", plan="tree", measure="logprob", options=OfficialSettings(num_final_orders=1))
"""With the paper's U, as a mean over examples: without rules, nothing in it speaks against labels that are all alike.
Contexts hold the same shots as by `fixed`, at a lower price."""


@dataclass(frozen=True)
class Method:
    """A source of labels."""

    title: str
    """For tables and plots."""
    find: Callable[[Trial, int], Awaitable[Found | None]]
    """The labels for a trial and a seed; None means no labels."""
    trains: bool = False
    """Whether models are tuned for it."""


async def zero_shot(trial: Trial, seed: int) -> None:
    """No labels."""


async def random_few_shot(trial: Trial, seed: int) -> Found:
    """Uniform random labels."""
    return Found(random_labels(len(trial.train), 2, np.random.default_rng([seed, 1])), 0.0)


async def gold(trial: Trial, seed: int) -> Found:
    """The right labels."""
    return Found(trial.gold, 0.0)


async def human(trial: Trial, seed: int) -> Found:
    """The labels that people gave."""
    return Found(trial.human(), 0.0)


async def icm(trial: Trial, seed: int) -> Found:
    """Our search as `icm run` does it."""
    return await _ours(trial, "icm", seed)


async def icm_without_rules(trial: Trial, seed: int) -> Found:
    """The same without the task's consistency rules."""
    return await _ours(trial, "icm_without_rules", seed, with_rules=False)


async def published(trial: Trial, seed: int) -> Found:
    """Algorithm 1 with the paper's U and constants."""
    return await _published(trial, "published", seed)


async def published_without_rules(trial: Trial, seed: int) -> Found:
    """The same without rules."""
    return await _published(trial, "published_without_rules", seed, with_rules=False)


async def noise(trial: Trial, seed: int) -> Found:
    """Gold labels with random errors, as many as the labels of ICM have."""
    wrong = int(((await icm(trial, seed)).labels != trial.gold).sum())
    return Found(with_noise(trial.gold, wrong, 2, np.random.default_rng([seed, 2])), 0.0)


async def from_gold(trial: Trial, seed: int) -> Found:
    """A search whose chains all begin with the right labels."""
    return await _ours(trial, "from_gold", seed, start=trial.gold)


async def from_random(trial: Trial, seed: int) -> Found:
    """A search whose chains all begin with the same random labels."""
    labels = random_labels(len(trial.train), 2, np.random.default_rng([seed, 3]))
    return await _ours(trial, "from_random", seed, start=labels)


async def from_wrong(trial: Trial, seed: int) -> Found:
    """A search whose chains all begin with wrong labels only."""
    return await _ours(trial, "from_wrong", seed, start=1 - trial.gold)


async def _ours(trial: Trial, name: str, seed: int, *, with_rules: bool = True, start: Ints | None = None) -> Found:
    problem = replace(trial.problem(OURS, with_rules=with_rules), start=start)
    return await trial.search(name, problem, blocks(problem, OURS.options, seed))


async def _published(trial: Trial, name: str, seed: int, *, with_rules: bool = True) -> Found:
    problem = trial.problem(PUBLISHED, with_rules=with_rules)
    return await trial.search(name, problem, official(problem, PUBLISHED.options, seed))


async def calibrated_zero_shot(trial: Trial, seed: int) -> Found:
    """Our search's first pass: zero-shot answers, calibrated to even labels."""
    found = (await icm(trial, seed)).zero_shot
    assert found is not None
    return Found(found, 0.0)


async def _after_rounds(
    find: Callable[[Trial, int], Awaitable[Found]], num: int | None, trial: Trial, seed: int
) -> Found:
    """Labels after so many rounds in which each half is labelled by a model tuned on the other; None for the result
    that `icm train relabel` would take."""
    rounds = await trial.relabelled((await find(trial, seed)).labels, trial.problem(OURS))
    return Found(rounds.result if num is None else rounds.after(num), 0.0)


METHODS: dict[str, Method] = {
    "zero_shot": Method(TITLES["zero_shot"], zero_shot),
    "calibrated_zero_shot": Method("calibrated zero-shot", calibrated_zero_shot),
    "random_few_shot": Method(TITLES["random_few_shot"], random_few_shot),
    "gold": Method(TITLES["gold"], gold),
    "human": Method(TITLES["human"], human),
    "icm": Method(TITLES["icm"], icm),
    "icm_without_rules": Method("ICM without rules", icm_without_rules),
    "published": Method("Algorithm 1", published),
    "published_without_rules": Method("Algorithm 1 without rules", published_without_rules),
    "noise": Method(TITLES["noise"], noise),
    "from_gold": Method("right start", from_gold),
    "from_random": Method("random start", from_random),
    "from_wrong": Method("wrong start", from_wrong),
    **{
        f"{start}_{name}": Method(f"{title}, {words}", partial(_after_rounds, find, num), trains=True)
        for start, title, find in (("icm", "ICM", icm), ("zero_shot", "zero-shot", calibrated_zero_shot))
        for name, words, num in (
            ("round_1", "1 round", 1),
            ("round_2", "2 rounds", 2),
            ("relabelled", "relabelled", None),
        )
    },
}
