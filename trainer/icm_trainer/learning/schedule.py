"""When a training does what: the order of rows, the learning rate, when it looks at held-out rows. A leaf."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from icm_annealer.core.arrays import Ints

LOOKS_PER_EPOCH = 2
PATIENCE = 4
"""Looks without a better one before a training stops: two epochs."""


@dataclass(frozen=True)
class Schedule:
    """Everything follows from these numbers and the step, so a resumed training needs no other state."""

    num_rows: int
    rate: float
    """The learning rate of the first step; it falls linearly to 0 behind the last."""
    epochs: float
    batch: int
    """Rows a step."""
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.num_rows / self.batch)

    @property
    def num_steps(self) -> int:
        return max(1, math.ceil(self.epochs * self.steps_per_epoch))

    def rows(self, step: int) -> Ints:
        """The row numbers of a step, which is counted from 0. Each epoch has an order of its own."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order: Ints = np.random.default_rng([self.seed, epoch]).permutation(self.num_rows)
        return order[place * self.batch : (place + 1) * self.batch]

    @property
    def looks_first(self) -> bool:
        """Whether there is a look before the first step."""
        return False

    def rate_at(self, step: int) -> float:
        return self.rate * (1 - step / self.num_steps)

    def looks_after(self, step: int) -> bool:
        """Whether held-out rows are looked at when `step` steps are done: LOOKS_PER_EPOCH times an epoch, and at the
        end."""
        every = max(1, self.steps_per_epoch // LOOKS_PER_EPOCH)
        return step == self.num_steps or step % every == 0
