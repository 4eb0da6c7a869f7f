"""What the figures measure of labels: how many are right, and how good what is made of them is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from icm_annealer.core.arrays import Ints
from icm_lab.reproduce.trial import Score, Trial


@dataclass(frozen=True)
class Measure:
    """A share, with what makes it."""

    title: str
    """For the axis of a plot."""
    take: Callable[[Trial, Ints | None], Awaitable[Score]]
    """Of the labels of a trial, None for none."""
    suffix: str = ""
    """Behind the method in tables and plots."""
    trains: bool = False
    """Whether models are tuned for it."""


async def labels(trial: Trial, found: Ints | None) -> Score:
    """The labels themselves."""
    assert found is not None
    return Score(float((found == trial.gold).sum()), len(found))


async def shots(trial: Trial, found: Ints | None) -> Score:
    """Predictions on the test set behind all examples with these labels; zero-shot for None."""
    return await trial.prompted(found)


async def tuned(trial: Trial, found: Ints | None) -> Score:
    """Predictions on the test set of a model that was tuned on these labels."""
    assert found is not None
    return await trial.tuned(found)


async def reward(trial: Trial, found: Ints | None) -> Score:
    """Pairs of the test set that a reward model of these labels ranks rightly."""
    assert found is not None
    return await trial.ranked(found)


async def wins(trial: Trial, found: Ints | None) -> Score:
    """Responses of a policy by such a reward model that a judge prefers to those of the policy's start."""
    assert found is not None
    return await trial.wins(found, None)


async def wins_over_people(trial: Trial, found: Ints | None) -> Score:
    """The same against the policy by people's labels."""
    assert found is not None
    return await trial.wins(found, trial.human())


async def wins_over_gold(trial: Trial, found: Ints | None) -> Score:
    """The same against the policy by gold labels."""
    assert found is not None
    return await trial.wins(found, trial.gold)


LABELS, SHOTS, TUNED, REWARD, WINS = "labels", "shots", "tuned", "reward", "wins"
OVER_PEOPLE, OVER_GOLD = "wins_over_people", "wins_over_gold"
MEASURES: dict[str, Measure] = {
    LABELS: Measure("share of right labels", labels),
    SHOTS: Measure("test accuracy", shots),
    TUNED: Measure("test accuracy", tuned, ", tuned", trains=True),
    REWARD: Measure("share of test pairs ranked rightly", reward, trains=True),
    WINS: Measure("share of wins, by a judge", wins, " over start", trains=True),
    OVER_PEOPLE: Measure("share of wins, by a judge", wins_over_people, " over human labels", trains=True),
    OVER_GOLD: Measure("share of wins, by a judge", wins_over_gold, " over gold labels", trains=True),
}
