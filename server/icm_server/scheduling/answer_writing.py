"""Writes answers in pieces: tenants take turns, and no answer is written faster than its client reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Send

from icm_server.auth.tenant import Tenant
from icm_server.sharing.fair_lock import FairLock

SMALL_VALUES = 2**10
"""A piece with fewer log-probabilities is written without taking a turn."""


class AnswerWriter:
    """Writes one answer. JSON encoding and compression block the event loop, and a thread would not help (they hold the
    GIL). So each piece has a few thousand values, and tenants take turns at large pieces."""

    def __init__(self, lock: FairLock, tenant: Tenant, num_values: int, stall_s: float):
        """`num_values`: log-probabilities of the whole answer; `stall_s`: a client that reads nothing for this long is
        treated as disconnected."""
        self._lock, self._place, self._stall_s = lock, lock.place(tenant, num_values), stall_s

    async def write(self, send: Send, make: Callable[[], bytes], num_values: int = 0) -> None:
        """Sends the piece that `make` returns, of this many log-probabilities. Raises TimeoutError if the client does
        not read."""
        if num_values < SMALL_VALUES:
            await self._sent(_sending(send, make()))
            return
        async with self._lock.holding(self._place):
            sending = _sending(send, make())
            await asyncio.sleep(0)  # compress it and run other waiting tasks before the next turn
        await self._sent(sending)

    async def _sent(self, sending: asyncio.Future[None]) -> None:
        async with asyncio.timeout(self._stall_s):
            await sending


def _sending(send: Send, body: bytes) -> asyncio.Future[None]:
    return asyncio.ensure_future(send({"type": "http.response.body", "body": body, "more_body": True}))
