"""Much of what costs little by itself, at bounded rates: some hundred a second."""

from __future__ import annotations

import asyncio
import json

from tests.attack.experiments import work
from tests.attack.target import Target, crowd

GOOD = json.dumps({"prompts": ["Word: cod\nGroup:"], "labels": [" living", " object"]}).encode()


async def small_requests(target: Target) -> None:
    """Right ones, on connections that stay open: 200 a second."""
    await _repeated(target, target.post("/v1/score", GOOD), num=10, per_s=200)


async def wrong_keys(target: Target) -> None:
    """Guesses: 200 a second."""
    await _repeated(target, target.post("/v1/score", GOOD, keyed=False, Authorization="Bearer no"), num=10, per_s=200)


async def unknown_paths(target: Target) -> None:
    """200 a second, without a key."""
    await _repeated(target, target.head("GET", "/admin.php", keyed=False), num=10, per_s=200)


async def polls(target: Target) -> None:
    """What is made anew for everybody who looks: 50 a second of each."""
    async with asyncio.TaskGroup() as tasks:
        for path in ("/metrics", "/v1/experiments"):
            tasks.create_task(_repeated(target, target.head("GET", path), num=5, per_s=50))


async def cancelled(target: Target) -> None:
    """Requests whose callers go away at once: 50 a second."""

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(target.post("/v1/score", work("attacker", 16, 20)))
            await asyncio.sleep(0.02)

    await crowd(5, once, every_s=0.1)


async def connections(target: Target) -> None:
    """Opened and closed: 500 a second."""

    async def once() -> None:
        async with target.connection():
            pass

    await crowd(25, once, every_s=0.05)


async def kept_open(target: Target) -> None:
    """Six hundred connections that have shown a key, and then hardly use it."""
    request = target.head("GET", "/v1/model")

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(request)
            await connection.answer()
            await connection.reader.read()

    await crowd(600, once, every_s=2.0)


async def pipelined(target: Target) -> None:
    """A hundred requests at once on one connection, whose answers nobody reads: 400 a second."""
    request = target.head("GET", "/healthz", keyed=False) * 100

    async def once() -> None:
        async with target.connection() as connection:
            await connection.send(request)
            await asyncio.sleep(0.5)

    await crowd(2, once, every_s=0.5)


async def web_sockets(target: Target) -> None:
    """Upgrades: 100 a second."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    request = target.head("GET", "/v1/score", keyed=False, Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA==", **upgrade)
    await crowd(5, lambda: target.ask(request), every_s=0.05)


async def _repeated(target: Target, request: bytes, num: int, per_s: float) -> None:
    async def once() -> None:
        async with target.connection() as connection:
            while True:
                begun = asyncio.get_running_loop().time()
                await connection.send(request)
                await connection.answer()
                await asyncio.sleep(max(0.0, num / per_s - (asyncio.get_running_loop().time() - begun)))

    await crowd(num, once, every_s=num / per_s)
