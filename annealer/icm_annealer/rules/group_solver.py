"""The best labels of one group that contradict no rule, exactly: by trying all, or by trying what rules leave open."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.rules.rules import (
    AtMostOne,
    DifferentKeys,
    ExactlyOne,
    Facts,
    FunctionRule,
    Labels,
    Mirrored,
    Rule,
    SameKey,
)
from icm_client.contract.errors import RequestError

MAX_STATES = 200_000
"""Groups with more label states than this are never enumerated."""
FEW_STATES = 256
"""Groups with at most so many always are."""
MAX_CELLS = 4_000_000
"""The largest table that `ChosenLabels` fills, in numbers."""


class AllLabels:
    """Every state of the group's labels, of which those with the fewest contradictions remain.

    They have none, unless every state has some.
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


class ChosenLabels:
    """The same for groups of any size, without a state for each combination.

    `same_key` makes one *atom* of the examples that share a label. A label under `at_most_one`, `exactly_one` or
    `mirrored` is *single*: no atom has it, or one of one example. A label under `different_keys` alone is *keyed*: it
    is chosen which value of the keys has it (each way of choosing is a *combination*). All others are free. Within a
    combination an atom takes its best free or chosen label, or one of the single labels; a table over atoms and sets
    of single labels already given away finds the best, and there is nothing that it does not try.
    """

    def __init__(self, rules: Sequence[Rule], facts: Sequence[Facts], names: Labels):
        """Raises RequestError where a rule cannot be put so, where too much is left open, or where no labels keep all
        rules."""
        if any(isinstance(rule, FunctionRule) for rule in rules):
            raise RequestError("a rule that is a function is known by trying all labels only", code="group_too_large")
        self._num_labels = len(names)
        self._atoms = _atoms([rule.key for rule in rules if isinstance(rule, SameKey)], facts)
        number = {name: k for k, name in enumerate(names)}
        once = [number[rule.label] for rule in rules if isinstance(rule, AtMostOne | ExactlyOne)]
        mirrored = any(isinstance(rule, Mirrored) for rule in rules)
        self._single = sorted(range(len(names)) if mirrored else set(once))
        needed = {number[rule.label] for rule in rules if isinstance(rule, ExactlyOne)}
        needed_bits = sum(1 << bit for bit, label in enumerate(self._single) if label in needed)
        keys: dict[int, list[str]] = {}
        for rule in rules:
            if isinstance(rule, DifferentKeys) and number[rule.label] not in self._single:
                keys.setdefault(number[rule.label], []).append(rule.key)
        self._keyed = list(keys)
        choices = [self._allowed(keys[label], facts) for label in self._keyed]
        num_sets = 2 ** len(self._single)
        if math.prod(map(len, choices)) * (num_sets + len(names)) * len(self._atoms) > MAX_CELLS:
            raise RequestError("its rules leave too much open", code="group_too_large")
        sets = np.arange(num_sets)
        self._complete = sets & needed_bits == needed_bits
        self._having = [sets[sets & (1 << bit) > 0] for bit in range(len(self._single))]
        combinations = [np.array(each, dtype=bool) for each in itertools.product(*choices)]
        self._combinations = np.array(combinations).reshape(len(combinations), len(keys), len(self._atoms))
        self.best(np.zeros((len(facts), len(names))))

    def best(self, scores: Array) -> Ints:
        """The labels [n] with the highest total of `scores` [n, label]."""
        atoms = np.array([scores[atom].sum(axis=0) for atom in self._atoms])
        open_labels = [label for label in range(self._num_labels) if label not in (*self._single, *self._keyed)]
        # [combination, label, atom]; what an atom may not have is minus infinity.
        open_scores = np.broadcast_to(atoms[:, open_labels].T, (len(self._combinations), len(open_labels), len(atoms)))
        keyed_scores = np.where(self._combinations, atoms[:, self._keyed].T, -np.inf)
        own = np.concatenate([open_scores, keyed_scores], axis=1)
        own_labels = [*open_labels, *self._keyed]
        own_best = own.max(axis=1, initial=-np.inf)
        totals, taken = self._table(atoms, own_best)
        totals = np.where(self._complete, totals, -np.inf)
        combination, mask = np.unravel_index(int(totals.argmax()), totals.shape)
        if totals[combination, mask] == -np.inf:
            raise RequestError("no labels keep all rules", code="no_consistent_labels")
        labels = np.empty(len(scores), dtype=np.int64)
        for atom in reversed(range(len(atoms))):
            bit = int(taken[atom, combination, mask])
            label = self._single[bit] if bit >= 0 else own_labels[int(own[combination, :, atom].argmax())]
            labels[self._atoms[atom]] = label
            mask = mask ^ (1 << bit) if bit >= 0 else mask
        return labels

    def _table(self, atoms: Array, own_best: Array) -> tuple[Array, npt.NDArray[np.int8]]:
        """The best total [combination, set of single labels given away], and [atom, combination, set] which of them
        the atom took (-1: none) on the way there."""
        totals = np.full((len(own_best), len(self._complete)), -np.inf)
        totals[:, 0] = 0.0
        taken = np.full((len(atoms), *totals.shape), -1, dtype=np.int8)
        for atom in range(len(atoms)):
            before, totals = totals, totals + own_best[:, atom, None]
            for bit, having in enumerate(self._having if len(self._atoms[atom]) == 1 else []):
                given = before[:, having ^ (1 << bit)] + atoms[atom, self._single[bit]]
                better = given > totals[:, having]
                totals[:, having] = np.where(better, given, totals[:, having])
                taken[atom][:, having] = np.where(better, bit, taken[atom][:, having])
        return totals, taken

    def _allowed(self, keys: list[str], facts: Sequence[Facts]) -> list[list[bool]]:
        """For every value that these keys have together: which atoms have it throughout."""
        values = [{tuple(facts[i].get(key) for key in keys) for i in atom} for atom in self._atoms]
        every = dict.fromkeys(next(iter(value)) for value in values if len(value) == 1)
        return [[value == {chosen} for value in values] for chosen in every] or [[False] * len(values)]


def solver(rules: Sequence[Rule], facts: Sequence[Facts], names: Labels) -> AllLabels | ChosenLabels:
    """What finds the best labels of this group. Raises RequestError if nothing does."""
    num_states = len(names) ** len(facts)
    if num_states <= FEW_STATES:
        return AllLabels(rules, facts, names)
    try:
        return ChosenLabels(rules, facts, names)
    except RequestError as error:
        if num_states <= MAX_STATES:
            return AllLabels(rules, facts, names)
        raise RequestError(
            f"a group of {len(facts)} examples with {len(names)} labels has too many label states to try them all "
            f"(more than {MAX_STATES}), and {error.message}; use smaller groups, or other rules",
            code=error.code,
        ) from None


def _atoms(keys: Sequence[str], facts: Sequence[Facts]) -> list[Ints]:
    """The examples that have to share a label, since they are linked by equal values of one of the keys."""
    owner = list(range(len(facts)))
    for key in keys:
        first: dict[object, int] = {}
        for number, fact in enumerate(facts):
            one, other = owner[first.setdefault(fact.get(key), number)], owner[number]
            if one != other:
                owner = [one if each == other else each for each in owner]
    return [np.flatnonzero(np.array(owner) == atom) for atom in dict.fromkeys(owner)]
