"""Somebody with a key who asks small requests, and what becomes of them: `victim.py SETTINGS`, as `programs` has them.

A process of its own, so that nobody else's work is in its times. Its connections each ask every `period_s`, and at once
if they are late; half of them connect anew for every request. A request that takes longer than the period stands for
those that would have been asked meanwhile, or a scorer that stops for a while would look good for it.

Reads lines: the name of the phase that begins (its requests are those asked in it), or `report`: then it waits for what
is under way and prints a line of JSON, what became of every phase's since the last report.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from icm_client import IcmError, ScorerClient, ScoreRequest
from icm_client.contract.errors import BusyError
from icm_client.http.retry import RetryPolicy

TOLERANCE = 1e-3
"""Nats: what batching and cached prefixes change on a real engine."""
TIMEOUT_S = 20.0
"""What is not answered by then is lost."""
SPARE_BYTES = 2**14
HEALTH_EVERY_S, HEALTH_LIMIT_S = 0.2, 2.0
NO_RETRIES = RetryPolicy(patience_s=0, busy_patience_s=0)


@dataclass
class Phase:
    """What became of the requests asked in it."""

    seconds: list[float] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    lost: int = 0
    wrong: int = 0
    errors: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    health_s: list[float] = field(default_factory=list)
    health_failed: int = 0


class Victim:
    """Asks from `prepare` on, in the phase that is set."""

    def __init__(self, url: str, key: str, num_connections: int, period_s: float, num_prompts: int, num_requests: int):
        self._url, self._period_s = url, period_s
        rng = random.Random()
        self._requests = [_request(rng, num_prompts) for _ in range(num_requests)]
        self._right: list[list[list[float]]] = []
        keeping = httpx.Limits(max_connections=num_connections)
        anew = httpx.Limits(max_connections=num_connections, max_keepalive_connections=0)
        self._clients = [
            ScorerClient(
                url,
                api_key=key,
                retry=NO_RETRIES,
                read_timeout_s=TIMEOUT_S,
                transport=httpx.AsyncHTTPTransport(limits=limits),
            )
            for limits in (keeping, anew)
        ]
        self._num_connections = num_connections
        self._turn = itertools.cycle(range(num_requests))
        self._under_way: set[asyncio.Task[None]] = set()
        self.phase = "alone"
        self._phases: defaultdict[str, Phase] = defaultdict(Phase)

    async def prepare(self) -> None:
        """What is right is what is answered now."""
        gate = asyncio.Semaphore(self._num_connections)

        async def ask(request: ScoreRequest) -> list[list[float]]:
            async with gate:
                return (await self._clients[0].score(request)).logprobs

        self._right = await asyncio.gather(*map(ask, self._requests))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._num_connections):
                tasks.create_task(self._connection(number))
            tasks.create_task(self._probe())

    async def report(self) -> dict[str, Any]:
        if self._under_way:
            await asyncio.wait(self._under_way)
        phases, self._phases = self._phases, defaultdict(Phase)
        return {name: vars(phase) for name, phase in phases.items()}

    async def _connection(self, number: int) -> None:
        client = self._clients[number % len(self._clients)]
        await asyncio.sleep(self._period_s * number / self._num_connections)
        while True:
            begun = time.monotonic()
            asking = asyncio.create_task(self._ask(client, self._phases[self.phase], next(self._turn)))
            self._under_way.add(asking)
            await asking
            self._under_way.discard(asking)
            await asyncio.sleep(max(0.001, self._period_s - (time.monotonic() - begun)))

    async def _ask(self, client: ScorerClient, phase: Phase, number: int) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await client.score(self._requests[number])
        except BusyError as error:
            phase.refused += 1
            phase.errors[error.code] += 1
            return  # soon, so its time would be in favour of the scorer
        except (IcmError, TimeoutError) as error:
            phase.lost += 1
            phase.errors[error.code if isinstance(error, IcmError) else "timeout"] += 1
        else:
            phase.answered += 1
            phase.wrong += not _same(answer.logprobs, self._right[number])
        took = time.monotonic() - begun
        phase.seconds.append(took)
        while (took := took - self._period_s) > self._period_s:
            phase.seconds.append(took)

    async def _probe(self) -> None:
        """What a load balancer would see."""
        place = urlsplit(self._url)
        request = b"GET /healthz HTTP/1.1\r\nHost: scorer\r\nConnection: close\r\n\r\n"
        while True:
            phase, begun = self._phases[self.phase], time.monotonic()
            is_there = False
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(HEALTH_LIMIT_S):
                    reader, writer = await asyncio.open_connection(place.hostname, place.port)
                    try:
                        writer.write(request)
                        is_there = (await reader.read()).startswith(b"HTTP/1.1 200")
                    finally:
                        writer.transport.abort()
            phase.health_failed += not is_there
            phase.health_s.append(time.monotonic() - begun)
            await asyncio.sleep(HEALTH_EVERY_S)


def _request(rng: random.Random, num_prompts: int) -> ScoreRequest:
    """Of prompts that share nothing, some twenty tokens each, which are read whenever they are asked.

    Every third is so large that it is sent packed: it brings a text that no prompt names.
    """
    texts = [rng.randbytes(SPARE_BYTES // 2).hex()] if rng.random() < 1 / 3 else []
    words = " ".join(str(rng.randrange(1000)) for _ in range(10))
    prompts = [f"{rng.randrange(10**9)} {number} {words}\nWord: cod\nGroup:" for number in range(num_prompts)]
    return ScoreRequest(prompts=prompts, labels=[" living", " object"], segments=texts, fresh=True)


def _same(found: list[list[float]], right: list[list[float]]) -> bool:
    pairs = zip(found, right, strict=True)
    return all(abs(a - b) < TOLERANCE for row, its in pairs for a, b in zip(row, its, strict=True))


async def main(key_file: str, **settings: Any) -> None:
    victim = Victim(key=Path(key_file).read_text().strip(), **settings)
    try:
        await victim.prepare()
    except IcmError as error:
        sys.exit(f"the victim is not answered even alone: {error.message}")
    print("ready", flush=True)
    running = asyncio.create_task(victim.run())
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if line == "report":
            print(json.dumps(await victim.report()), flush=True)
        else:
            victim.phase = line
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
