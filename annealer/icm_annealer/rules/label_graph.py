"""Finds the best labels that the rules allow, exactly, by dynamic programming over the rules' automata.

The automata of a group run in parallel, label by label. Their product is a graph with one layer per example (a decision
diagram), in which every path is an allowed labelling. The best paths of all groups are found at once.
`docs/design/rules.md` compares this with integer programming.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.rules.base import Constraint, Fields, Labels

MAX_STEPS = 2_000_000
"""The most automaton steps for one group; a larger group is not solved."""
END = 0
"""The node behind the last layer of every group."""

States = tuple[Hashable, ...]
"""A state of each automaton."""
Edge = tuple[int, int, int]
"""A node of a layer, the number of a label, and the node of the next layer that it leads to."""


class TooManyStepsError(Exception):
    """The graph of a group would be too large."""


class LabelGraph(NamedTuple):
    """All ways to label one group."""

    order: Sequence[int]
    """The number of each layer's example."""
    layers: list[list[Edge]]
    """The edges of each layer, by node and label. The nodes of a layer are numbered from 0, and each lies on a path
    through the whole graph; the first layer has one node. Without layers, no labelling satisfies all rules."""


def label_graph(constraints: Sequence[Constraint], order: Sequence[int], names: Labels) -> LabelGraph:
    """The labellings with `names` that the constraints allow the examples `order`. Raises TooManyStepsError."""
    layers: list[list[Edge]] = []
    states: dict[States, int] = {tuple(constraint.start for constraint in constraints): 0}
    num_steps = 0
    for number in range(len(order)):
        num_steps += len(states) * len(names)
        if num_steps > MAX_STEPS:
            raise TooManyStepsError
        after: dict[States, int] = {}
        edges: list[Edge] = []
        for (state, node), (label, name) in itertools.product(states.items(), enumerate(names)):
            reached = _step(constraints, state, number, name)
            if reached is not None:
                edges.append((node, label, after.setdefault(reached, len(after))))
        layers.append(edges)
        states = after
    ends = {node: 0 for state, node in states.items() if all(c.end(s) for c, s in zip(constraints, state, strict=True))}
    return LabelGraph(order, _pruned(layers, ends))


def reading_order(fields: Sequence[str], rows: Sequence[Fields]) -> list[int]:
    """The numbers of the examples, ordered so that examples sharing a value of one of the fields are adjacent."""
    sharing: dict[tuple[str, object], list[int]] = {}
    for number, row in enumerate(rows):
        for field in fields:
            sharing.setdefault((field, row.get(field)), []).append(number)
    order: dict[int, None] = {}
    for first in range(len(rows)):
        waiting = deque([first])
        while waiting:
            number = waiting.popleft()
            order.setdefault(number)
            for field in fields:
                waiting.extend(sharing.pop((field, rows[number].get(field)), ()))
    return list(order)


class BestPaths:
    """The best labels of many groups at once."""

    def __init__(self, graphs: Sequence[LabelGraph], num_labels: int):
        """Every graph must have at least one layer."""
        self._num_labels = num_labels
        self._starts = slice(1, 1 + len(graphs))
        self._layers: list[_Layer] = []
        self._num_nodes = 1 + len(graphs)
        first_nodes = {number: 1 + number for number in range(len(graphs))}
        while first_nodes:
            first_nodes = self._add_layer(graphs, first_nodes)

    def write_best(self, scores: Array, labels: Ints) -> None:
        """Sets `labels` [example] of all groups to those with the highest total of `scores` [example, label].

        Ties go to the lower label numbers, compared example by example in the graph's order.
        """
        cell_scores = scores.ravel()
        values = np.zeros(self._num_nodes)
        """The best total from each node to the end."""
        best_edges: list[Ints] = []
        for layer in reversed(self._layers):
            totals = cell_scores[layer.cells] + values[layer.targets]
            values[layer.nodes] = np.maximum.reduceat(totals, layer.first_edges)
            best = np.flatnonzero(totals == values[layer.sources])
            best_edges.append(best[np.searchsorted(best, layer.first_edges)])
        is_on_path = np.zeros(self._num_nodes, dtype=bool)
        is_on_path[self._starts] = True
        for layer, best in zip(self._layers, reversed(best_edges), strict=True):
            taken = best[is_on_path[layer.nodes]]
            examples, chosen = np.divmod(layer.cells[taken], self._num_labels)
            labels[examples] = chosen
            is_on_path[layer.targets[taken]] = True

    def _add_layer(self, graphs: Sequence[LabelGraph], first_nodes: dict[int, int]) -> dict[int, int]:
        """Adds the next layer of these graphs. `first_nodes` maps a graph to its layer's first node; returns the same
        for the layer that follows."""
        depth = len(self._layers)
        following: dict[int, int] = {}
        sources: list[int] = []
        cells: list[int] = []
        targets: list[int] = []
        for number, first_node in first_nodes.items():
            order, layers = graphs[number]
            is_last = depth + 1 == len(layers)
            next_node = END if is_last else self._num_nodes
            if not is_last:
                following[number] = next_node
                self._num_nodes += 1 + layers[depth + 1][-1][0]
            first_cell = order[depth] * self._num_labels
            for source, label, target in layers[depth]:
                sources.append(first_node + source)
                cells.append(first_cell + label)
                targets.append(next_node + target)
        self._layers.append(_Layer(*(np.array(each, dtype=np.int64) for each in (sources, cells, targets))))
        return following


class _Layer:
    """The edges of one depth of all graphs, sorted by source; the sources are consecutive numbers."""

    def __init__(self, sources: Ints, cells: Ints, targets: Ints):
        self.sources, self.cells, self.targets = sources, cells, targets
        self.nodes = slice(int(sources[0]), int(sources[-1]) + 1)
        self.first_edges = np.flatnonzero(np.diff(sources, prepend=sources[0] - 1))


def _step(constraints: Sequence[Constraint], state: States, number: int, name: str) -> States | None:
    """The next states; None if a constraint forbids the label."""
    reached = []
    for constraint, each in zip(constraints, state, strict=True):
        following = constraint.step(each, number, name)
        if following is None:
            return None
        reached.append(following)
    return tuple(reached)


def _pruned(layers: list[list[Edge]], ends: dict[int, int]) -> list[list[Edge]]:
    """The layers without the edges that reach no end, with their nodes renumbered."""
    pruned = []
    numbers = ends
    for edges in reversed(layers):
        kept = [(node, label, numbers[target]) for node, label, target in edges if target in numbers]
        numbers = {node: number for number, node in enumerate(dict.fromkeys(edge[0] for edge in kept))}
        pruned.append([(numbers[node], label, target) for node, label, target in kept])
    return pruned[::-1] if numbers else []
