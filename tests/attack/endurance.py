"""Slow headers, slow bodies and slow readers, thousands of connections for minutes: nobody else loses anything."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.attack.measure import Seen
from tests.attack.memory import Memory
from tests.attack.programs import Attacked, VictimSettings, attackers, victim

SHARES: Mapping[str, float] = {"half_headers": 0.4, "slow_bodies": 0.3, "slow_readers": 0.3}
EVERY_S = 1.0
MAX_GROWTH = 1.05
"""Memory in the last fifth over that in the second."""


@dataclass(frozen=True)
class Endured:
    """What was seen."""

    seen: Seen
    held: list[int]
    """Bytes, second by second."""

    @property
    def bad(self) -> dict[str, int]:
        """What became of requests that should all have been answered."""
        return {what: self.seen.total(what) for what in ("refused", "lost", "wrong", "health_failed")}

    @property
    def growth(self) -> float:
        """Memory in the last fifth over that in the second."""
        fifth = max(1, len(self.held) // 5)
        return statistics.median(self.held[-fifth:]) / statistics.median(self.held[fifth : 2 * fifth] or self.held)

    @property
    def is_met(self) -> bool:
        return not any(self.bad.values()) and self.growth <= MAX_GROWTH

    def lines(self) -> Iterator[str]:
        """For people."""
        answered = sum(phase["answered"] for phase in self.seen.phases.values())
        yield f"{answered:,} requests answered; {self.bad}; errors: {self.seen.errors()}"
        yield f"attackers: {self.seen.attackers}"
        for phase in ("before", "during", "after"):
            if self.seen.has(phase):
                yield f"{phase}: median {self.seen.median_s(phase):.3f} s, p95 {self.seen.p95_s(phase):.3f} s"
        some = self.held[:: max(1, len(self.held) // 20)]
        yield f"memory: {[round(value / 2**20) for value in some]} MB; last fifth / second {self.growth:.3f}"


async def endure(attacked: Attacked, seconds: float, num_connections: int) -> Endured:
    """With so many slow connections for so long."""
    names = [name for name in SHARES if attacked.attacker_key_file or name == "half_headers"]
    whole = sum(SHARES[name] for name in names)
    sizes = {name: max(1, int(num_connections * SHARES[name] / whole)) for name in names}
    admin = attacked.admin_key_file.read_text().strip() if attacked.admin_key_file else None
    memory = Memory(attacked.pid, attacked.url, admin)
    held: list[int] = []
    async with victim(attacked, VictimSettings()) as asking, attackers(attacked) as attacking:
        asking.enter("before")
        await asyncio.sleep(min(10.0, seconds / 5))
        await memory.begin()
        before = await memory.now()
        asking.enter("during")
        await attacking.begin(names, sizes)
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(EVERY_S)
            held.append(await memory.now() or 0)
        asking.enter("after")
        done = await attacking.end()
        await asyncio.sleep(min(5.0, seconds / 5))
        return Endured(Seen(names, await asking.report(), (before, memory.peak(), await memory.now()), done), held)
