"""Finds the best labels of a group, from the constraints of its rules or by trying all labellings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.rules.base import Fields, Labels, Rule
from icm_annealer.rules.label_graph import LabelGraph, TooManyStepsError, label_graph, reading_order
from icm_client.contract.errors import RequestError

MAX_STATES = 200_000
"""The most labellings of a group that are tried one by one."""


class AllLabels:
    """Every labelling of a group with the fewest contradictions.

    That is none, unless every labelling has some.
    """

    def __init__(self, rules: Sequence[Rule], rows: Sequence[Fields], names: Labels):
        states = np.array(list(itertools.product(range(len(names)), repeat=len(rows))), dtype=np.int64)
        counts = np.array([sum(rule.count(rows, [names[c] for c in s]) for rule in rules) for s in states])
        self._states: Ints = states[counts == counts.min()]

    def best(self, scores: Array) -> Ints:
        """The labels [n] with the highest total of `scores` [n, label]."""
        totals = scores[np.arange(len(scores))[None, :], self._states].sum(axis=1)
        labels: Ints = self._states[int(totals.argmax())]
        return labels


def solver(
    rules: Sequence[Rule], group: Sequence[int], rows: Sequence[Fields], names: Labels, ids: Sequence[str]
) -> LabelGraph | AllLabels:
    """A solver for the examples `group`, with these rows and ids.

    A graph, unless no labelling satisfies all rules or a rule states no constraint: then all labellings are tried, if
    they are few enough. Otherwise raises RequestError that names the rules and the group.
    """
    order = reading_order([field for rule in rules for field in rule.read_together], rows)
    constraints = [rule.constraint([rows[number] for number in order]) for rule in rules]
    stated = [constraint for constraint in constraints if constraint is not None]
    obstacle, code = "", "group_too_large"
    if len(stated) < len(rules):
        obstacle = f"the rule {rules[constraints.index(None)].title!r} states no constraint"
    else:
        try:
            graph = label_graph(stated, [group[number] for number in order], names)
        except TooManyStepsError:
            obstacle = f"{named(rules)} leave{'s' * (len(rules) == 1)} too much open"
        else:
            if graph.layers:
                return graph
            obstacle, code = f"no labels keep {named(rules)}", "no_consistent_labels"
    if len(names) ** len(group) <= MAX_STATES:
        return AllLabels(rules, rows, names)
    shown = ", ".join(map(repr, ids[:3])) + ", ..." * (len(ids) > 3)
    raise RequestError(
        f"the group of {len(group)} examples {shown} with {len(names)} labels: {obstacle}, and there are more than "
        f"{MAX_STATES:,} ways to label it, too many to try them all; use smaller groups, or other rules",
        code=code,
    )


def named(rules: Sequence[Rule]) -> str:
    """The rules, for a message."""
    titles = ", ".join(repr(rule.title) for rule in rules)
    return f"the rule{'s' * (len(rules) > 1)} {titles}"
