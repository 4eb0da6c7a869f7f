"""The rule `mirrored`. A leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from icm_annealer.rules.base import Constraint, Fields, Labels, Rule, Traits, num_pairs
from icm_client.text.counts import counted


class Mirrored(Rule):
    """The examples of a group are each other's opposites: no two have the same label."""

    help: ClassVar[str] = "two examples with the same label"
    traits: ClassVar[Traits] = Traits(counts_pairs=True, reveals_labels=True, compares_two=True)

    kind: Literal["mirrored"] = "mirrored"

    def count(self, rows: Sequence[Fields], labels: Labels) -> int:
        return sum(map(num_pairs, Counter(labels).values()))

    def constraint(self, rows: Sequence[Fields]) -> Constraint:
        """The state is the set of labels already used."""

        def step(used: frozenset[str], number: int, label: str) -> frozenset[str] | None:
            return None if label in used else used | {label}

        return Constraint(frozenset(), step)

    def odd_groups(self, sizes: Counter[int], num_labels: int) -> list[str]:
        odd = []
        if sizes[1]:
            odd.append(
                f"{counted(sizes[1], 'group has', 'groups have')} one example, and no mirror: "
                "`icm data mirror` adds them"
            )
        larger = sum(num for size, num in sizes.items() if size > num_labels)
        if larger:
            odd.append(
                f"{counted(larger, 'group has', 'groups have')} more examples than there are labels, so "
                "that some cannot be opposites"
            )
        return odd
