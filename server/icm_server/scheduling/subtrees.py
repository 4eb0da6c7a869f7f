"""Subtrees of a request's prefix tree whose reads compute no more than so many tokens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from icm_server.scheduling.planned_read import PlannedRead
from icm_server.sharing.steps import Steps
from icm_server.tokens.request_tree import RequestTree


class Unit(NamedTuple):
    """Neighbouring reads that stay together."""

    prefix: int | None
    """The prefix of the request that all their prompts begin with; None if they continue no prefix."""
    reads: list[PlannedRead]

    @property
    def tokens(self) -> int:
        return sum(read.estimated_new_tokens for read in self.reads)


def units(reads: Sequence[PlannedRead], tree: RequestTree, max_tokens: float) -> Steps[Iterator[Unit]]:
    """The reads of each of the largest subtrees of at most `max_tokens`, in turn. Reads of a prompt above all such
    subtrees are a unit by themselves."""
    root_of = yield from _roots(reads, tree, max_tokens)
    return _units(reads, tree, root_of)


def _units(reads: Sequence[PlannedRead], tree: RequestTree, root_of: list[int | None]) -> Iterator[Unit]:
    unit: Unit | None = None
    unit_root: tuple[int | None, int] | None = None
    for read in reads:
        parent = tree.prompts[read.prompt].parent
        subtree = root_of[parent] if parent is not None else None
        root = (subtree, -1) if subtree is not None else (None, read.prompt)
        if unit is None or root != unit_root:
            if unit is not None:
                yield unit
            unit, unit_root = Unit(subtree if subtree is not None else parent, []), root
        unit.reads.append(read)
    if unit is not None:
        yield unit


def _roots(reads: Sequence[PlannedRead], tree: RequestTree, max_tokens: float) -> Steps[list[int | None]]:
    """For each prefix, the topmost prefix on its path whose reads compute at most `max_tokens`."""
    below = [0] * len(tree.prefixes)
    for read in reads:
        parent = tree.prompts[read.prompt].parent
        if parent is not None:
            below[parent] += read.estimated_new_tokens
    yield
    for number in range(len(below) - 1, -1, -1):
        parent = tree.prefixes[number].parent
        if parent is not None:
            below[parent] += below[number]
    yield
    roots: list[int | None] = []
    for number, node in enumerate(tree.prefixes):
        above = roots[node.parent] if node.parent is not None else None
        roots.append(above if above is not None else number if below[number] <= max_tokens else None)
    return roots
