"""Builds the Problem of a search from a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example, consistency_of
from icm_annealer.data.task import Task
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem


def problem_of(task: Task, examples: Sequence[Example], objective: Objective, plan: PlanKind) -> Problem:
    """The problem of labelling `examples` under the task's rules and its `leave_out`."""
    consistency = consistency_of(task, examples)
    units: Sequence[Ints] = consistency.groups
    if task.leave_out == "example":
        units = [np.array([number]) for number in range(len(examples))]
    return Problem(len(examples), len(task.labels), units, consistency, objective, plan)
