"""One measurement: what a victim sees before, while and after others attack, and whether that is within bounds."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.attack.memory import Memory
from tests.attack.programs import Attackers, Victim
from tests.attack.table import ATTACKS


@dataclass(frozen=True)
class Seconds:
    """How long each phase takes. `control`, if any, goes first: the same attackers attack something else."""

    before: float
    during: float
    after: float
    control: float = 0.0


SETTLED_S, SETTLED_LIMIT_S = 0.5, 60.0
SHORT, USUAL, LONG = (
    Seconds(0.2, 0.4, 0.05),
    Seconds(2.0, 4.0, 1.0, control=2.0),
    Seconds(10.0, 30.0, 5.0, control=10.0),
)
SHORT_TOGETHER, TOGETHER_SECONDS = Seconds(1.0, 4.0, 0.5), Seconds(10.0, 20.0, 5.0, control=10.0)


@dataclass(frozen=True)
class Bounds:
    """What is allowed."""

    median: float = 2.5
    """Times the victim's alone, with attackers that have a key."""
    p95: float = 1.5
    """Times the victim's alone, with attackers that have none."""
    memory_bytes: int = 512 * 2**20


@dataclass
class Seen:
    """Of one measurement."""

    names: Sequence[str]
    phases: Mapping[str, Mapping[str, Any]]
    """What `victim.Phase` holds, by phase."""
    memory: tuple[int | None, int | None, int | None]
    """Before, the peak, after."""
    attackers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What each attack did: connections, bytes, answers by status."""

    def median_s(self, phase: str) -> float:
        return statistics.median(self._seconds(phase))

    def p95_s(self, phase: str) -> float:
        seconds = sorted(self._seconds(phase))
        return seconds[int(0.95 * len(seconds))]

    def total(self, what: str) -> int:
        """Of `refused`, `lost`, `wrong`, `health_failed`: how many from the attack on."""
        return sum(self.phases[name][what] for name in ("during", "after") if name in self.phases)

    def errors(self) -> dict[str, int]:
        """The errors of those who were not answered, and how often each came."""
        errors: dict[str, int] = {}
        for phase in (self.phases[name] for name in ("during", "after") if name in self.phases):
            for code, number in phase["errors"].items():
                errors[code] = errors.get(code, 0) + number
        return errors

    def has(self, phase: str) -> bool:
        return bool(self.phases.get(phase, {}).get("seconds"))

    def _seconds(self, phase: str) -> list[float]:
        seconds: list[float] = self.phases[phase]["seconds"]
        return seconds

    def ratio(self, phase: str, what: str) -> float:
        """Its median or p95 over that before; infinite if nothing was answered."""
        measured = self.median_s if what == "median" else self.p95_s
        return measured(phase) / measured("before") if self.has(phase) and self.has("before") else float("inf")

    def exceeded(self, bounds: Bounds) -> list[str]:
        """What was not within bounds, each in a word or two; empty if all was."""
        found = [f"{what}: {self.total(what)}" for what in ("refused", "lost", "wrong") if self.total(what)]
        if failed := self.total("health_failed"):
            found.append(f"/healthz: {failed} of {failed + self._healthy()}")
        for what, bound in (("median", bounds.median), ("p95", bounds.p95)):
            is_bound = what == "median" or not any(ATTACKS[name].has_key for name in self.names)
            if is_bound and self.ratio("during", what) > bound:
                noise = self.has("control") and self.ratio("control", what) > bound
                found.append(
                    f"{what}: {self.ratio('during', what):.1f} x" + (" (so is the control's)" if noise else "")
                )
        if any(memory is not None and memory > bounds.memory_bytes for memory in self.memory):
            found.append(f"memory: {max(filter(None, self.memory)) / 2**20:,.0f} MB")
        return found

    def _healthy(self) -> int:
        tried = sum(len(self.phases[name]["health_s"]) for name in ("during", "after") if name in self.phases)
        return tried - self.total("health_failed")


async def measure(
    victim: Victim,
    attackers: Attackers,
    memory: Memory,
    names: Sequence[str],
    seconds: Seconds,
    *,
    others: Attackers | None = None,
) -> Seen:
    """With attacks of these names under way at the same time. `others`: attackers of something else, for comparison."""
    await _settled(victim)
    during_s = max(seconds.during, *(ATTACKS[name].shows_after_s for name in names))
    if others is not None and seconds.control:
        victim.enter("control")
        await others.begin(names)
        await asyncio.sleep(seconds.control)
        victim.enter("between")
        await others.end()
    watching = asyncio.create_task(memory.watch())
    try:
        await memory.begin()
        memory_before = await memory.now()
        victim.enter("before")
        await asyncio.sleep(seconds.before)
        victim.enter("during")
        await attackers.begin(names)
        await asyncio.sleep(during_s)
        victim.enter("after")
        done = await attackers.end()
        await asyncio.sleep(seconds.after)
        phases = await victim.report()
        victim.enter("between")
        return Seen(names, phases, (memory_before, memory.peak(), await memory.now()), done)
    finally:
        watching.cancel()


async def _settled(victim: Victim) -> None:
    """Waits until nothing is left of an attack before, at most a minute: who is measured alone has to be alone."""
    end = asyncio.get_running_loop().time() + SETTLED_LIMIT_S
    while asyncio.get_running_loop().time() < end:
        victim.enter("between")
        await asyncio.sleep(0.1)
        seconds = (await victim.report()).get("between", {}).get("seconds", [])
        if seconds and max(seconds) < SETTLED_S:
            return
