"""Builds the Problem of a search from a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example, consistency_of, labels_of
from icm_annealer.data.given_labels import NOTHING_GIVEN, GivenLabels, named_ids
from icm_annealer.data.rates import check_attainable, label_rates_of
from icm_annealer.data.task import Task
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem
from icm_client.contract.errors import RequestError

MAX_ROUNDS = 200
"""Rounds of looking for labels that follow from known ones; each needs the best labels once. A group of n examples may
need n."""


def problem_of(
    task: Task,
    examples: Sequence[Example],
    objective: Objective,
    plan: PlanKind,
    given: GivenLabels = NOTHING_GIVEN,
) -> Problem:
    """The problem of labelling `examples` under the task's rules, its `leave_out` and its label rates, with the given
    labels that are theirs. Labels that follow from known ones by the rules are known, too.

    Raises RequestError if known labels contradict each other under the rules, or if no labels have the rates.
    """
    consistency = consistency_of(task, examples)
    units: Sequence[Ints] = consistency.groups
    if task.leave_out == "example":
        units = [np.array([number]) for number in range(len(examples))]
    known = labels_of(examples, given.known, task)
    if task.rules and (known >= 0).any():
        known = _completed(known, consistency, task, examples)
    check_attainable(task.rates, task.label_names, known)
    return Problem(
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


def _completed(known: Ints, consistency: Consistency, task: Task, examples: Sequence[Example]) -> Ints:
    """`known` [example] with the labels that follow from it by the rules, or without them if a group is so large that
    finding them takes too long."""
    one_each = np.eye(len(task.labels))
    fixed = _fixed(known, one_each)
    possible = possible_labels(known, consistency, task, examples)
    is_open = np.zeros(len(known), dtype=bool)  # examples whose label follows, as far as is known
    for group in consistency.groups:
        is_open[group] = (known[group] < 0) & (known[group] >= 0).any()
    for _ in range(MAX_ROUNDS):
        # Any other label of an open example is worth 1: if one of a group is possible, the best labels have one.
        other = consistency.best(fixed + np.where(is_open[:, None], 1 - one_each[possible], 0.0))
        has_choice = is_open & (other != possible)
        if not has_choice.any():
            return np.where(is_open, possible, known)
        is_open &= ~has_choice
    return known


def _fixed(known: Ints, one_each: Array) -> Array:
    """Scores [example, label] by which a known label is worth more than all others of its group."""
    fixed: Array = np.where(known[:, None] >= 0, 2.0 * len(known) * one_each[known], 0.0)
    return fixed


def possible_labels(known: Ints, consistency: Consistency, task: Task, examples: Sequence[Example]) -> Ints:
    """Labels of all examples that the rules allow, with those `known` (-1 where none is) among them. Raises
    RequestError if there are none, since known labels contradict each other."""
    possible = consistency.best(_fixed(known, np.eye(len(task.labels))))
    counts = consistency.by_group(possible)
    for group, count in zip(consistency.groups, counts, strict=True):
        there = group[known[group] >= 0]
        if len(there) and (count or (possible[there] != known[there]).any()):
            raise RequestError(
                f"the known labels of {named_ids([examples[number].id for number in there])} contradict each other "
                "under the task's rules: correct or remove one",
                code="bad_data",
            )
    return possible
