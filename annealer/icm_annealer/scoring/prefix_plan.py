"""Plans: the contexts of a pass as a prefix tree of example numbers. Only integers, no text or labels.

Every plan scores each unit (an example, or a group) with other units as context. The costs for N units are in shots
computed by an engine with a perfect prefix cache:

    tree      each half is scored with the other half before it, recursively: exact leave-one-unit-out
              in N*log2(N) shots
    folds=k   the same tree cut off at k leaves, whose units are left out together: N*log2(k) + N shots
    fixed     one order for all, as in the published code: exact leave-one-unit-out in about N*N/2 shots
    chain     one growing context, each unit after those before it, in N shots: not leave-one-out but the joint
              probability by the chain rule, so its U is another measure
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from icm_client.contract.errors import RequestError

Unit = npt.NDArray[np.int64]
"""Numbers of examples that are left out of their context together."""


MIN_READS_TO_ALIGN = 8
MAX_TRIMMED = 3
"""The most shots, besides the limit of a sixteenth, left out of a context so that it ends on a block boundary."""
TAIL = 16
"""The number of last shots among which the shots to leave out are chosen."""


@dataclass
class PrefixPlan:
    """A prefix tree and the reads at its nodes, depth first.

    `prefixes[k]` is (parent prefix or None, shots appended); `reads[i]` is (prefix or None, example to score).
    """

    prefixes: list[tuple[int | None, list[int]]] = field(default_factory=list)
    reads: list[tuple[int | None, int]] = field(default_factory=list)
    num_trimmed: int = 0
    """Shots left out so that contexts end on block boundaries."""
    num_dropped: int = 0
    """Shots left out of contexts because the model's window is too small, summed over the tree's nodes."""

    def append(self, parent: int | None, shots: Sequence[int]) -> int | None:
        """The prefix that continues `parent` by `shots`; `parent` itself if there are none."""
        if not len(shots):
            return parent
        self.prefixes.append((parent, list(shots)))
        return len(self.prefixes) - 1

    def __add__(self, other: PrefixPlan) -> PrefixPlan:
        """Both plans' reads, with no prefix in common."""
        shift = len(self.prefixes)
        return PrefixPlan(
            self.prefixes + [(parent if parent is None else parent + shift, shots) for parent, shots in other.prefixes],
            self.reads + [(prefix if prefix is None else prefix + shift, example) for prefix, example in other.reads],
            self.num_trimmed + other.num_trimmed,
            self.num_dropped + other.num_dropped,
        )

    def only(self, reads_at: Mapping[int, Sequence[int]]) -> PrefixPlan:
        """This plan with the examples `reads_at[i]` scored in the place of example i. All other reads are dropped, and
        prefixes without reads."""
        reads = [(prefix, query) for prefix, example in self.reads for query in reads_at.get(example, ())]
        needed = {prefix for prefix, _ in reads if prefix is not None}
        for number in range(len(self.prefixes) - 1, -1, -1):  # parents precede children
            parent = self.prefixes[number][0]
            if number in needed and parent is not None:
                needed.add(parent)
        kept: dict[int | None, int | None] = {None: None}
        plan = PrefixPlan(num_dropped=self.num_dropped)
        for number, (parent, shots) in enumerate(self.prefixes):
            if number in needed:
                kept[number] = plan.append(kept[parent], shots)
        plan.reads = [(kept[prefix], example) for prefix, example in reads]
        return plan

    def without(self, hidden: Collection[int]) -> PrefixPlan:
        """This plan without the shots of these examples, which are scored as before."""
        if not hidden:
            return self
        kept: dict[int | None, int | None] = {None: None}
        plan = PrefixPlan(num_dropped=self.num_dropped)
        for number, (parent, shots) in enumerate(self.prefixes):
            kept[number] = plan.append(kept[parent], [shot for shot in shots if shot not in hidden])
        plan.reads = [(kept[prefix], example) for prefix, example in self.reads]
        return plan

    def aligned(self, lengths: npt.NDArray[np.float64], before: int, block: int) -> PrefixPlan:
        """This plan with contexts of many reads trimmed to end on block boundaries.

        A prefix cache holds full blocks of `block` tokens, and every read computes the context's tokens after the last
        full block: half a block on average, which for short shots is most of a read. Leaving out up to MAX_TRIMMED of
        the last shots avoids that. `before` is the number of tokens, besides the shots, that all reads of a context
        share (may be negative).
        """
        num_reads, is_parent = [0] * len(self.prefixes), [False] * len(self.prefixes)
        for prefix, _ in self.reads:
            if prefix is not None:
                num_reads[prefix] += 1
        totals: list[float] = []
        for parent, shots in self.prefixes:
            totals.append((totals[parent] if parent is not None else before) + float(lengths[shots].sum()))
            if parent is not None:
                is_parent[parent] = True
        plan = PrefixPlan(reads=self.reads, num_dropped=self.num_dropped)
        for number, (parent, shots) in enumerate(self.prefixes):
            if not is_parent[number] and num_reads[number] >= MIN_READS_TO_ALIGN:
                dropped = _best_drop(lengths[shots], totals[number], block, num_reads[number])
                plan.num_trimmed += len(dropped)
                shots = [shot for place, shot in enumerate(shots) if place not in dropped]
            plan.prefixes.append((parent, shots))
        return plan

    def contexts(self) -> list[list[int]]:
        """The full context of every read, shot by shot: N*N integers, for tests and explanations."""
        paths: list[list[int]] = []
        for parent, shots in self.prefixes:
            paths.append((paths[parent] if parent is not None else []) + shots)
        return [paths[prefix] if prefix is not None else [] for prefix, _ in self.reads]


@dataclass(frozen=True)
class PlanKind:
    """A plan by name: `tree`, `fixed`, `chain` or `folds=k`."""

    name: str
    num_folds: int | None = None

    @classmethod
    def parse(cls, text: str) -> PlanKind:
        """Raises RequestError for anything but the known names."""
        match = re.fullmatch(r"(tree|fixed|chain)|folds=(\d{1,6})", text)
        if not match or (match[2] and int(match[2]) < 2):
            raise RequestError(f"no plan {text!r}: it is `tree`, `fixed`, `chain`, or `folds=k` with k of 2 or more")
        return cls("folds", int(match[2])) if match[2] else cls(text)

    def __str__(self) -> str:
        return f"folds={self.num_folds}" if self.num_folds else self.name

    @property
    def is_exact(self) -> bool:
        """True if every context holds all units but the one left out, as far as the window allows."""
        return self.name in ("tree", "fixed")

    def build(self, units: Sequence[Unit], lengths: npt.NDArray[np.float64], max_length: float) -> PrefixPlan:
        """The plan over units in the given order.

        `lengths` is the length of every example's shot and `max_length` that of the longest context, both in tokens
        (estimates suffice). If all shots together are longer, shots are dropped evenly along the order, per subtree so
        that contexts stay shared, and counted in `num_dropped`.
        """
        plan = PrefixPlan()
        if self.name == "fixed":
            _fixed(plan, units, _Window(units, lengths, max_length))
        elif self.name == "chain":
            _chain(plan, units, _Window(units, lengths, max_length))
        else:
            _halve(plan, units, None, self.num_folds or len(units), _Window(units, lengths, max_length), max_length)
        return plan


def behind_all(
    units: Sequence[Unit], queries: Sequence[int], lengths: npt.NDArray[np.float64], max_length: float
) -> PrefixPlan:
    """A plan with one context of all units before every query, for queries that are not in the context."""
    plan = PrefixPlan()
    window = _Window(units, lengths, max_length)
    kept = window.keep(units, max_length)
    plan.num_dropped = window.num_dropped
    root = plan.append(None, _members(kept))
    plan.reads = [(root, int(query)) for query in queries]
    return plan


def _best_drop(lengths: npt.NDArray[np.float64], total: float, block: int, num_reads: int) -> tuple[int, ...]:
    """The positions of the shots to leave out of a context of `total` tokens so that reads compute the fewest
    tokens."""
    places = range(max(0, len(lengths) - TAIL), len(lengths))
    best: tuple[int, ...] = ()
    least = num_reads * (total % block)
    for num in range(1, min(MAX_TRIMMED, len(lengths) // 16) + 1):
        for some in itertools.combinations(places, num):
            # Removing a shot from all contexts must save at least one block.
            cost = num_reads * ((total - lengths[list(some)].sum()) % block) + num * block
            if cost < least:
                best, least = some, cost
    return best


class _Window:
    """Selects the shots that stay if not all fit: a share of every subtree, spread evenly along the order."""

    def __init__(self, units: Sequence[Unit], lengths: npt.NDArray[np.float64], max_length: float):
        self._lengths, self.max_length = lengths, max_length
        self._all_fit = self.length(units) <= max_length
        self.num_dropped = 0

    def length(self, units: Sequence[Unit]) -> float:
        return float(sum(self._lengths[unit].sum() for unit in units))

    def keep(self, units: Sequence[Unit], room: float, behind: Sequence[Unit] = ()) -> Sequence[Unit]:
        """The units kept within `room` tokens. Each unit of `behind` will also need the others of `behind` there.

        At least one unit stays if any fits: long examples must not be scored without context.
        """
        if self._all_fit:
            return units
        needed = self.length(units)
        if len(behind) > 1:
            needed += self.length(behind) - min(self.length([unit]) for unit in behind)
        if needed <= room:
            return units
        kept: list[Unit] = []
        budget = used = 0.0
        for unit in units:
            length = self.length([unit])
            budget += length * room / needed
            if used + length <= budget + 1e-9:
                kept.append(unit)
                used += length
        if not kept:
            kept = [unit for unit in units if self.length([unit]) <= room][:1]
        self.num_dropped += sum(map(len, units)) - sum(map(len, kept))
        return kept


def _members(units: Sequence[Unit]) -> list[int]:
    return [int(i) for unit in units for i in unit]


def _halve(
    plan: PrefixPlan, units: Sequence[Unit], prefix: int | None, num_leaves: int, window: _Window, room: float
) -> None:
    if len(units) <= 1 or num_leaves <= 1:
        plan.reads.extend((prefix, i) for i in _members(units))
        plan.num_dropped = window.num_dropped
        return
    middle = len(units) // 2
    fewer = num_leaves // 2
    halves = (units[:middle], fewer), (units[middle:], num_leaves - fewer)
    for (half, leaves), (sibling, _) in zip(halves, halves[::-1], strict=True):
        kept = window.keep(sibling, room, half if leaves > 1 else ())
        _halve(plan, half, plan.append(prefix, _members(kept)), leaves, window, room - window.length(kept))


def _fixed(plan: PrefixPlan, units: Sequence[Unit], window: _Window) -> None:
    kept = list(window.keep(units, window.max_length))
    trunk: int | None = None
    place = 0
    for unit in units:
        is_kept = place < len(kept) and kept[place] is unit
        rest = kept[place + is_kept :]
        prefix = plan.append(trunk, _members(rest))
        plan.reads.extend((prefix, int(i)) for i in unit)
        if is_kept:
            trunk = plan.append(trunk, _members([unit]))
            place += 1
    plan.num_dropped = window.num_dropped


def _chain(plan: PrefixPlan, units: Sequence[Unit], window: _Window) -> None:
    kept = list(window.keep(units, window.max_length))
    trunk: int | None = None
    place = 0
    for unit in units:
        plan.reads.extend((trunk, int(i)) for i in unit)
        if place < len(kept) and kept[place] is unit:
            trunk = plan.append(trunk, _members([unit]))
            place += 1
    plan.num_dropped = window.num_dropped
