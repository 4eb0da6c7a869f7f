"""How much of the data a context holds where the model's window is too small for what its plan puts there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icm_annealer.core.arrays import Array
from icm_annealer.scoring.prefix_plan import PlanKind, PrefixPlan, Unit

LEAST_CORE = 16
"""Examples, below which a core is no advice."""


class ContextFit(NamedTuple):
    """Contexts of a pass over all examples that are cut."""

    num_examples: int
    num_shots: int
    """The shots of the longest context."""
    num_wanted: int
    """What it would have in a window without end."""
    max_prompt_tokens: int
    """The model's window."""

    @property
    def num_core(self) -> int:
        """About how many examples have contexts that are not cut, in two digits."""
        num = self.num_examples * self.num_shots // self.num_wanted
        unit = int("1" + "0" * (len(str(num)) - 2))
        return num // unit * unit

    def __str__(self) -> str:
        advice = (
            f"label a core of at most {self.num_core:,} rows, drawn at random, and the others by it with `icm extend`"
            if self.num_core >= LEAST_CORE
            else "shorten the texts, or use a model with a larger window"
        )
        return (
            f"of {self.num_examples:,} examples a context holds {self.num_shots:,} "
            f"({self.num_shots / self.num_examples:.1%}) in place of {self.num_wanted:,}, since no more fit the "
            f"model's window of {self.max_prompt_tokens:,} tokens; {advice}"
        )


def context_fit(
    units: Sequence[Unit], lengths: Array, kind: PlanKind, room: float, max_prompt_tokens: int
) -> ContextFit | None:
    """The fit of shots of these lengths into `room`, in tokens; None if no context is cut."""
    if float(lengths.sum()) <= room:
        return None
    plan = kind.build(units, lengths, room)
    if not plan.num_dropped:
        return None
    whole = kind.build(units, lengths, float("inf"))
    return ContextFit(len(lengths), _most_shots(plan), _most_shots(whole), max_prompt_tokens)


def _most_shots(plan: PrefixPlan) -> int:
    """In the context of one read."""
    nums: list[int] = []
    for parent, shots in plan.prefixes:
        nums.append((nums[parent] if parent is not None else 0) + len(shots))
    return max((nums[prefix] for prefix, _ in plan.reads if prefix is not None), default=0)
