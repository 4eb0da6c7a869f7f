"""The schedule of a training: mixes become more even, and documents longer. A leaf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icm_lab.corpus import Mix


@dataclass(frozen=True)
class Stage:
    """`steps` batches of `documents`, each of `num_shots`; by its middle the mix has become as even as `evenness`."""

    steps: int
    documents: int
    num_shots: int
    evenness: float
    noisy: bool
    is_last: bool = False
    """Concepts have their `noise_at_last`, and the learning rate is a fifth of the schedule's."""


@dataclass(frozen=True)
class Batch:
    """One step's documents."""

    documents: int
    mix: Mix


@dataclass(frozen=True)
class TrainingSchedule:
    """A whole training. The same schedule gives the same weights on the same kind of processor with the same torch."""

    stages: Sequence[Stage]
    seed: int = 0
    rate: float = 3e-3
    """AdamW's learning rate."""
    warm_up: int = 100
    """Steps in which the rate rises from 0."""
    cool_down: float = 0.3
    """The last share of all steps but the last stage's, in which the rate falls to a thirtieth."""
    report_steps: int = 100
    """The number of steps between lines of the log; the last step has a line too."""

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def batch(self, step: int) -> Batch:
        """The batch of a step; steps are counted from 0."""
        before = 0.0
        for stage in self.stages:
            if step < stage.steps:
                evenness = before + (stage.evenness - before) * min(1.0, 2 * step / stage.steps)
                return Batch(stage.documents, Mix(evenness, stage.num_shots, stage.noisy, stage.is_last))
            step, before = step - stage.steps, stage.evenness
        raise IndexError(f"a schedule of {self.steps} steps has no step {self.steps + step}")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        usual = sum(stage.steps for stage in self.stages if not stage.is_last)
        if step >= usual:
            return self.rate / 5
        left = (usual - step) / (self.cool_down * usual)
        return self.rate * min(1.0, (step + 1) / self.warm_up) * max(1 / 30, min(1.0, left))


STAGES = (
    Stage(300, 64, 16, 0.0, noisy=False),
    Stage(700, 64, 16, 1.0, noisy=False),
    Stage(200, 32, 64, 1.0, noisy=True),
    Stage(100, 16, 128, 1.0, noisy=True),
    Stage(100, 16, 128, 1.0, noisy=True, is_last=True),
)
"""Truth first: from the even mix alone nothing is learnt, since truth and its inverse are equally frequent in it."""
SCHEDULES = {
    "small": TrainingSchedule(STAGES),
    "medium": TrainingSchedule(STAGES),
    "large": TrainingSchedule(STAGES, rate=2e-3),
}
"""How the shipped models were trained, by size."""
