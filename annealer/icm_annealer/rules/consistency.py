"""Logical consistency of a whole dataset: contradictions by group, and the best labels that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.rules.group_solver import AllLabels, ChosenLabels, solver
from icm_annealer.rules.rules import AtMostOne, ExactlyOne, Facts, FunctionRule, Labels, Rule


class Consistency:
    """The rules of one task over one dataset.

    `groups` holds the example numbers of each group; examples without a group are groups of one.
    """

    def __init__(self, rules: Sequence[Rule], groups: Sequence[Ints], facts: Sequence[Facts], names: Labels):
        self.groups = list(groups)
        self._rules, self._facts, self._names = rules, facts, names
        self._partial_rules = [
            AtMostOne(kind="at_most_one", label=rule.label) if isinstance(rule, ExactlyOne) else rule for rule in rules
        ]
        self._solvers: dict[int, AllLabels | ChosenLabels] = {}
        if rules:
            for number, group in enumerate(self.groups):
                if len(group) > 1 or any(isinstance(rule, ExactlyOne | FunctionRule) for rule in rules):
                    self._solvers[number] = solver(rules, [facts[i] for i in group], names)

    def num_contradictions(self, labels: Ints) -> int:
        """I(D): contradicting pairs over all groups; examples labelled -1 (not yet) take no part."""
        return int(self.by_group(labels).sum())

    def by_group(self, labels: Ints) -> Ints:
        """The contradicting pairs within each group."""
        counts = np.zeros(len(self.groups), dtype=np.int64)
        for number in self._solvers:
            counts[number] = self._count(self.groups[number], labels)
        return counts

    def best(self, scores: Array) -> Ints:
        """The labels with the highest total score among those without contradiction, group by group, exactly.

        `scores` is [example, label]. Where a group that was enumerated has no consistent labels at all, the least
        contradictory win.
        """
        labels: Ints = scores.argmax(axis=1)
        for number, solver_ in self._solvers.items():
            group = self.groups[number]
            labels[group] = solver_.best(scores[group])
        return labels

    def _count(self, group: Ints, labels: Ints) -> int:
        known = [int(i) for i in group if labels[i] >= 0]
        facts, names = [self._facts[i] for i in known], [self._names[labels[i]] for i in known]
        rules = self._rules if len(known) == len(group) else self._partial_rules
        return sum(rule.count(facts, names) for rule in rules) if known else 0
