"""Attackers of one target: `attackers.py SETTINGS`, as `programs.attackers` has them.

At a low priority and at bounded rates, so that what is measured is the scorer and not a machine that is busy with its
attackers. Reads lines of JSON: `{"names": [...], "sizes": {...}}` begins these attacks and prints `begun` once each has
its first connection, `null` ends them and prints what each has done, a line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.attack.table import ATTACKS
from tests.attack.target import Target

BEGUN_LIMIT_S = 20.0
NICE = 10


async def main(key_file: str | None, addresses: list[str], **settings: Any) -> None:
    os.nice(NICE)
    key = Path(key_file).read_text().strip() if key_file else ""
    seen: dict[str, Counter[str]] = {}
    running: set[asyncio.Task[None]] = set()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if (message := json.loads(line)) is not None:
            seen = {name: Counter() for name in message["names"]}
            for name in seen:
                target = Target(key=key, addresses=tuple(addresses), seen=seen[name], **settings)
                running.add(asyncio.create_task(_attack(name, message["sizes"])(target)))  # type: ignore[arg-type]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEGUN_LIMIT_S):
                    while not all(its["connections"] for its in seen.values()):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            print("begun", flush=True)
        else:
            for task in running:
                task.cancel()
            ended = await asyncio.gather(*running, return_exceptions=True)
            if broken := [error for error in ended if not isinstance(error, asyncio.CancelledError)]:
                raise RuntimeError("an attack ended by itself") from broken[0]
            running.clear()
            print(json.dumps(seen), flush=True)


def _attack(name: str, sizes: dict[str, int]) -> Callable[[Target], Awaitable[None]]:
    run = ATTACKS[name].run
    return functools.partial(run, num=sizes[name]) if name in sizes else run  # type: ignore[call-arg]


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
