"""Builds the Problem of a search from a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example, consistency_of, labels_of
from icm_annealer.data.given_labels import NOTHING_GIVEN, GivenLabels, named_ids
from icm_annealer.data.rates import check_attainable, label_rates_of
from icm_annealer.data.task import Task
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem
from icm_client.contract.errors import RequestError


def problem_of(
    task: Task,
    examples: Sequence[Example],
    objective: Objective,
    plan: PlanKind,
    given: GivenLabels = NOTHING_GIVEN,
) -> Problem:
    """The problem of labelling `examples` under the task's rules, its `leave_out` and its label rates, with the given
    labels that are theirs.

    Raises RequestError if known labels contradict each other under the rules, or if no labels have the rates.
    """
    consistency = consistency_of(task, examples)
    units: Sequence[Ints] = consistency.groups
    if task.leave_out == "example":
        units = [np.array([number]) for number in range(len(examples))]
    known = labels_of(examples, given.known, task)
    check_attainable(task.rates, task.label_names, known)
    problem = Problem(
        len(examples),
        len(task.labels),
        units,
        consistency,
        objective,
        plan,
        known if (known >= 0).any() else None,
        label_rates_of(task.rates, task.label_names),
        None if given.start is None else labels_of(examples, given.start, task),
    )
    _check_known(problem, task, examples)
    return problem


def _check_known(problem: Problem, task: Task, examples: Sequence[Example]) -> None:
    """Raises RequestError for known labels of a group that no labelling without contradiction has."""
    if problem.known is None or not task.rules:
        return
    possible = problem.best(np.zeros((problem.num_examples, problem.num_labels)))
    counts = problem.consistency.by_group(possible)
    for group, count in zip(problem.consistency.groups, counts, strict=True):
        known = group[problem.is_known[group]]
        if len(known) and (count or (possible[known] != problem.known[known]).any()):
            raise RequestError(
                f"the known labels of {named_ids([examples[number].id for number in known])} contradict each other "
                "under the task's rules: correct or remove one",
                code="bad_data",
            )
