"""Logical consistency of a whole dataset: contradictions by group, and the best labels that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.rules.base import Fields, Labels, Rule
from icm_annealer.rules.group_solver import AllLabels, named, solver
from icm_annealer.rules.label_graph import BestPaths, LabelGraph
from icm_client.contract.errors import RequestError


class Consistency:
    """The rules of one task over one dataset.

    `groups` holds the example numbers of each group; an example without a group forms its own. `rows` and `ids` belong
    to the examples (ids appear in messages and default to the numbers), `names` are the label names. Raises
    RequestError for a group that is too large to solve.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        groups: Sequence[Ints],
        rows: Sequence[Fields],
        names: Labels,
        ids: Sequence[str] | None = None,
    ):
        self.groups = list(groups)
        self._rules, self._rows, self._names = rules, rows, names
        self._partial_rules = [rule.partial() for rule in rules]
        self._judged = [
            number
            for number, group in enumerate(self.groups)
            if any(len(group) > 1 or not rule.traits.counts_pairs for rule in rules)
        ]
        self._ids = ids if ids is not None else [str(number) for number in range(len(rows))]
        graphs: dict[int, LabelGraph] = {}
        self._tried: dict[int, AllLabels] = {}
        for number in self._judged:
            found = self._solver(self.groups[number].tolist())
            if isinstance(found, AllLabels):
                self._tried[number] = found
            else:
                graphs[number] = found
        self._stated = list(graphs)
        self._paths = BestPaths(list(graphs.values()), len(names))

    def num_contradictions(self, labels: Ints) -> int:
        """I(D): contradicting pairs over all groups, ignoring examples without a label (-1)."""
        return int(self.by_group(labels).sum())

    def by_group(self, labels: Ints) -> Ints:
        """The contradicting pairs within each group."""
        counts = np.zeros(len(self.groups), dtype=np.int64)
        for number in self._judged:
            counts[number] = self._count(self.groups[number], labels)
        return counts

    def best(self, scores: Array) -> Ints:
        """The labels with the highest total score among those without contradiction, group by group, exactly.

        `scores` is [example, label]. If every labelling of a group contradicts a rule, those with the fewest
        contradictions are considered. Ties go to the lower label numbers, compared example by example. Raises
        RequestError if a rule's constraint allows labels in which its `count` finds contradictions.
        """
        labels: Ints = scores.argmax(axis=1)
        self._paths.write_best(scores, labels)
        for number, tried in self._tried.items():
            group = self.groups[number]
            labels[group] = tried.best(scores[group])
        self._check(labels)
        return labels

    def _solver(self, group: list[int]) -> LabelGraph | AllLabels:
        rows, ids = [self._rows[i] for i in group], [self._ids[i] for i in group]
        return solver(self._rules, group, rows, self._names, ids)

    def _count(self, group: Ints, labels: Ints) -> int:
        known = [int(i) for i in group if labels[i] >= 0]
        rows, names = [self._rows[i] for i in known], [self._names[labels[i]] for i in known]
        rules = self._rules if len(known) == len(group) else self._partial_rules
        return sum(rule.count(rows, names) for rule in rules) if known else 0

    def _check(self, labels: Ints) -> None:
        """Raises RequestError if labels that the constraints allow still contain contradictions."""
        for number in self._stated:
            if self._count(self.groups[number], labels):
                first = self._ids[int(self.groups[number][0])]
                raise RequestError(
                    f"{named(self._rules)} allow{'s' * (len(self._rules) == 1)} labels by constraint that contradict "
                    f"each other by count (in the group of {first!r}): both have to agree",
                    code="bad_rule",
                )
