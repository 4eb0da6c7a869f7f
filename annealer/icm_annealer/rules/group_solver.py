"""How the best labels of a group are found: by the constraints that its rules state, or by trying all labels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.rules.base import Facts, Labels, Rule
from icm_annealer.rules.label_graph import LabelGraph, TooManyStepsError, label_graph, reading_order
from icm_client.contract.errors import RequestError

MAX_STATES = 200_000
"""The labels of a group that can be labelled in more ways are never all tried."""


class AllLabels:
    """Every way to label a group, of which those with the fewest contradictions remain.

    They have none, unless every way has some.
    """

    def __init__(self, rules: Sequence[Rule], facts: Sequence[Facts], names: Labels):
        states = np.array(list(itertools.product(range(len(names)), repeat=len(facts))), dtype=np.int64)
        counts = np.array([sum(rule.count(facts, [names[c] for c in s]) for rule in rules) for s in states])
        self._states: Ints = states[counts == counts.min()]

    def best(self, scores: Array) -> Ints:
        """The labels [n] with the highest total of `scores` [n, label]."""
        totals = scores[np.arange(len(scores))[None, :], self._states].sum(axis=1)
        labels: Ints = self._states[int(totals.argmax())]
        return labels


def solver(
    rules: Sequence[Rule], group: Sequence[int], facts: Sequence[Facts], names: Labels, ids: Sequence[str]
) -> LabelGraph | AllLabels:
    """What finds the best labels of the examples `group`, with these facts and ids.

    A graph, unless no labels keep all rules or a rule states no constraint: then all labels, if they can be tried.
    Raises RequestError that names rules and group where neither can be had.
    """
    order = reading_order([field for rule in rules for field in rule.read_together], facts)
    constraints = [rule.constraint([facts[number] for number in order]) for rule in rules]
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
        return AllLabels(rules, facts, names)
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
