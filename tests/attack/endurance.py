"""Slow headers, slow bodies and slow readers, thousands of connections for minutes: nobody else loses anything."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping

from rich.console import Console
from tests.attack.measure import Seen
from tests.attack.memory import Memory
from tests.attack.programs import Attacked, VictimSettings, attackers, victim

SHARES: Mapping[str, float] = {"half_headers": 0.4, "slow_bodies": 0.3, "slow_readers": 0.3}
EVERY_S = 1.0
MAX_GROWTH = 1.05
"""Memory in the last fifth over that in the second."""


async def endure(console: Console, attacked: Attacked, seconds: float, num_connections: int) -> bool:
    """Prints what was seen; whether nothing was lost, refused or wrong, and memory stayed as it was."""
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
        attacking.begin(names, sizes)
        asking.enter("during")
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(EVERY_S)
            held.append(await memory.now() or 0)
        asking.enter("after")
        done = await attacking.end()
        await asyncio.sleep(min(5.0, seconds / 5))
        seen = Seen(names, await asking.report(), (before, memory.peak(), await memory.now()), done)
    fifth = max(1, len(held) // 5)
    growth = statistics.median(held[-fifth:]) / statistics.median(held[fifth : 2 * fifth] or held)
    bad = {what: seen.total(what) for what in ("refused", "lost", "wrong", "health_failed")}
    answered = sum(phase["answered"] for phase in seen.phases.values())
    console.print(f"{sum(sizes.values()):,} connections for {seconds:g} s: {answered:,} requests answered, {bad}")
    console.print(f"attackers: {done}", highlight=False)
    console.print(
        "median, p95: "
        + ", ".join(
            f"{name} {seen.median_s(name) * 1000:.0f}, {seen.p95_s(name) * 1000:.0f} ms"
            for name in ("before", "during", "after")
            if seen.has(name)
        )
    )
    every = max(1, len(held) // 20)
    console.print(f"memory: {[round(value / 2**20) for value in held[::every]]} MB, last / second fifth {growth:.3f}")
    return not any(bad.values()) and growth <= MAX_GROWTH
