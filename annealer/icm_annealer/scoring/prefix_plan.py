"""Plans: which contexts a pass sends, as a prefix tree of example numbers. Pure integers, no text, no labels.

Every plan scores each unit (an example, or a group) with other units as context. With N units, counting shots that
an engine with a perfect prefix cache computes:

    tree      each half is scored with the other half put in front of it, recursively: exact leave-one-unit-out
              in N*log2(N) shots
    folds=k   the same tree cut off at k leaves, whose units are left out together: N*log2(k) + N shots
    fixed     one order for all, as the published code: exact leave-one-unit-out in about N*N/2 shots
    chain     one growing context, each unit behind those before it, in N shots: not leave-one-out but the joint
              probability by the chain rule, so U by it is another measure
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from icm_client.contract.errors import RequestError

Unit = npt.NDArray[np.int64]
"""The example numbers that are left out of their own context together."""


MIN_READS_TO_ALIGN = 8
MAX_TRIMMED = 3
"""So many shots, and no more than a sixteenth of a context, are left out to end it on a block."""
TAIL = 16
"""Shots at the end of a context among which those are looked for."""


@dataclass
class PrefixPlan:
    """A prefix tree and what is scored where, depth first.

    `prefixes[k]` is (parent prefix or None, shots appended); `reads[i]` is (prefix or None, example to score).
    """

    prefixes: list[tuple[int | None, list[int]]] = field(default_factory=list)
    reads: list[tuple[int | None, int]] = field(default_factory=list)
    num_trimmed: int = 0
    """Shots left out so that contexts end where a cache block ends."""
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
        """This plan with `reads_at[i]` read where example i is: other reads are left out, and so are prefixes that
        nobody needs then."""
        reads = [(prefix, query) for prefix, example in self.reads for query in reads_at.get(example, ())]
        needed = {prefix for prefix, _ in reads if prefix is not None}
        for number in range(len(self.prefixes) - 1, -1, -1):  # parents come first
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

    def aligned(self, lengths: npt.NDArray[np.float64], before: int, block: int) -> PrefixPlan:
        """This plan with contexts that end where a cache block ends, where many examples are read behind one.

        A prefix cache holds whole blocks of `block` tokens, and what a context has beyond them is computed by every
        read: half a block on average, which for short shots is most of a read. Leaving out up to MAX_TRIMMED of the
        context's last shots avoids that. `before` is the tokens beside its shots that all reads behind a context share
        (may be negative).
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
        """Every read's whole context, shot by shot: N*N integers, for tests and explanations."""
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
        """The plan over units in the order given.

        `lengths` is the length of every example's shot and `max_length` that of the longest context, both in tokens
        (estimates do). Where all shots together are longer, shots are left out evenly along the order, per subtree,
        so that contexts stay shared, and counted in `num_dropped`.
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
    """Every query behind one context of all units: for examples that are not in the context themselves."""
    plan = PrefixPlan()
    window = _Window(units, lengths, max_length)
    kept = window.keep(units, max_length)
    plan.num_dropped = window.num_dropped
    root = plan.append(None, _members(kept))
    plan.reads = [(root, int(query)) for query in queries]
    return plan


def _best_drop(lengths: npt.NDArray[np.float64], total: float, block: int, num_reads: int) -> tuple[int, ...]:
    """The places of the shots to leave out of a context of `total` tokens, so that reads compute least."""
    places = range(max(0, len(lengths) - TAIL), len(lengths))
    best: tuple[int, ...] = ()
    least = num_reads * (total % block)
    for num in range(1, min(MAX_TRIMMED, len(lengths) // 16) + 1):
        for some in itertools.combinations(places, num):
            # A shot less in everybody's context has to be worth a block of computing.
            cost = num_reads * ((total - lengths[list(some)].sum()) % block) + num * block
            if cost < least:
                best, least = some, cost
    return best


class _Window:
    """Decides which shots stay when all do not fit: a share of every subtree, spread evenly along the order."""

    def __init__(self, units: Sequence[Unit], lengths: npt.NDArray[np.float64], max_length: float):
        self._lengths, self.max_length = lengths, max_length
        self._all_fit = self.length(units) <= max_length
        self.num_dropped = 0

    def length(self, units: Sequence[Unit]) -> float:
        return float(sum(self._lengths[unit].sum() for unit in units))

    def keep(self, units: Sequence[Unit], room: float, behind: Sequence[Unit] = ()) -> Sequence[Unit]:
        """Those of `units` that are put into `room`, where each unit `behind` will want the other ones there too.

        Where anything fits, something stays: examples must not be scored without context because they are long.
        """
        if self._all_fit:
            return units
        wanted = self.length(units)
        if len(behind) > 1:
            wanted += self.length(behind) - min(self.length([unit]) for unit in behind)
        if wanted <= room:
            return units
        kept: list[Unit] = []
        budget = used = 0.0
        for unit in units:
            length = self.length([unit])
            budget += length * room / wanted
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
